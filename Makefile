# make train: from nothing to a trained SAFE and its executed notebook.   make test: the tests.   make book: the book.
# make reproduce: the whole study on the samples, from its records where they are there.   make table4: one part of it.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
DATASET ?= hardvs
NOW := $(shell date +%Y%m%d-%H%M%S)
RUN ?= runs/$(DATASET)-$(NOW)
CORES ?= 2
SWEEP ?= --cores $(CORES)
BIN := .venv/bin
STUDIES := table2 table3 table4 table5 table6 fig4 ablation_no_text ablation_resnet_backbone ablation_no_cross_attention \
	modalities dataset_size backbones prompts paper_vs_code

.PHONY: train test book reproduce notebooks lock clean $(STUDIES)
.DELETE_ON_ERROR:

train: .venv/installed
	@mkdir -p $(RUN)
	$(BIN)/papermill --log-output --log-level WARNING notebooks/train.ipynb $(RUN)/train.ipynb -p dataset $(DATASET) -p out_dir $(abspath $(RUN))
	@$(BIN)/python -m safe_book summary $(RUN)

test: .venv/installed
	$(BIN)/python -m pytest --nbval -n $(CORES) --dist loadfile

book: .venv/installed
	$(BIN)/jupyter-book build . -W -n --keep-going
	@echo "open _build/html/index.html"

# What runs is decided by the records under results/; SWEEP takes Snakemake's options, such as
# SWEEP="--profile profiles/slurm --config hardvs=/data/HARDVS".
reproduce: .venv/installed
	$(BIN)/snakemake $(SWEEP)
	$(MAKE) results/cost.json
	$(MAKE) notebooks
	$(BIN)/python -m safe_book ledger

$(STUDIES): .venv/installed
	$(BIN)/snakemake $@ $(SWEEP)
	$(BIN)/python -m safe_book execute $@

# Times of this machine; measured once training is over, so that nothing runs beside.
results/cost.json: | .venv/installed
	@mkdir -p runs
	$(BIN)/papermill --log-level WARNING notebooks/cost.ipynb runs/cost.ipynb -p rerun True

# The notebooks that show the studies, with their outputs, as the book has them.
notebooks: .venv/installed
	$(BIN)/python -m safe_book execute

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
