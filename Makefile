# make train: from nothing to a trained SAFE and its executed notebook.   make test: the tests.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
DATASET ?= hardvs
RUN ?= runs/$(DATASET)-$(shell date +%Y%m%d-%H%M%S)
BIN := .venv/bin

.PHONY: train test lock clean
.DELETE_ON_ERROR:

train: .venv/installed
	@mkdir -p $(RUN)
	$(BIN)/papermill --log-output --log-level WARNING notebooks/train.ipynb $(RUN)/train.ipynb -p dataset $(DATASET) -p out_dir $(abspath $(RUN))
	@$(BIN)/python -m safe_book summary $(RUN)

test: .venv/installed
	$(BIN)/python -m pytest --nbval

.venv/installed: requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip check
	@touch $@

# The newest versions that pyproject.toml allows; needs uv.
lock:
	uv pip compile --universal --python-version 3.11 --extra test --upgrade --generate-hashes --no-header \
		--no-emit-index-url --no-annotate pyproject.toml -o requirements.lock

clean:
	rm -rf .venv _build runs
