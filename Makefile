# make train: from nothing to a trained SAFE and its executed notebook.   make test: the tests.   make book: the book.
# make lint: format, types and imports.
# make reproduce: the whole study on the samples, from its records where they are there.   make table4: one part of it.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
DATASET ?= hardvs
NOW := $(shell date +%Y%m%d-%H%M%S)
RUN ?= runs/$(DATASET)-$(NOW)
CORES ?= 2
SWEEP ?= --cores $(CORES)
BIN := .venv/bin
STUDIES := $(shell tail -n +2 book/studies.csv | cut -d, -f1)

.PHONY: train test lint golden mutants damage kills benchmarks book play reproduce notebooks lock clean real real_nmnist real_biolab $(STUDIES)
.DELETE_ON_ERROR:

train: .venv/installed
	@mkdir -p $(RUN)
	$(BIN)/papermill --log-output --log-level WARNING notebooks/train.ipynb $(RUN)/train.ipynb -p dataset $(DATASET) -p out_dir $(abspath $(RUN))
	@$(BIN)/safe summary $(RUN)

test: .venv/installed
	$(BIN)/python -m pytest --nbval -n $(CORES) --dist loadfile --no-loadscope-reorder

lint: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# What the code computes, beside the stored numbers.
golden: .venv/installed
	$(BIN)/python tests/golden.py

# 200 faults, drawn at random and put in one at a time: which does no test find?
mutants: .venv/installed
	$(BIN)/python tests/mutants.py --jobs $(CORES)

# 10,000 damaged inputs of every kind: which one ends in anything but an answer or a named error?
damage: .venv/installed
	$(BIN)/python tests/damage.py

# Training, sweep and generation killed at random moments: do they end as if they had not been?
kills: .venv/installed
	$(BIN)/python tests/kills.py

# What the code costs, on this machine: benchmarks/RESULTS.md between its marks. BENCHMARKS="kernels memory": only these.
benchmarks: .venv/installed
	$(BIN)/python benchmarks/report.py $(BENCHMARKS)

book: .venv/installed
	$(BIN)/jupyter-book build . -W -n --keep-going
	@echo "open _build/html/index.html; _build/html/print.html is the whole book on one page"

# The models and recordings of the page on which the reader plays, from the checkpoints in results/ and runs/.
play: .venv/installed
	$(BIN)/safe play

# What runs is decided by the records under results/; SWEEP takes Snakemake's options, such as
# SWEEP="--profile profiles/slurm --config hardvs=/data/HARDVS".
reproduce: .venv/installed
	$(BIN)/snakemake $(SWEEP)
	$(MAKE) results/cost.json results/baselines/conjunctions.csv
	$(MAKE) notebooks
	$(BIN)/python -m safe_companion.headline README.md
	$(BIN)/safe ledger

$(STUDIES): .venv/installed
	$(BIN)/snakemake $@ $(SWEEP)
	$(BIN)/safe execute $@

# Real recordings that anyone can fetch: from the clones in SAFE_SOURCES, else cloned; their studies, statistics and pages.
LIGHTS := 1 0.01 0.001 0.0001
MEASURED := "N-MNIST=data/nmnist-stimulus-1" "BioLab=data/biolab-events"
real: real_nmnist real_biolab
	$(BIN)/safe realism $(MEASURED) --save results/real_events.json
	$(BIN)/safe execute real_events

real_nmnist: .venv/installed
	$(foreach light,$(LIGHTS),$(BIN)/safe fetch nmnist-pairs data/nmnist-stimulus-$(light) --light $(light) &&) true
	$(BIN)/snakemake real_nmnist $(SWEEP)
	$(BIN)/safe execute real_nmnist

real_biolab: .venv/installed
	$(BIN)/safe fetch biolab data/biolab
	$(BIN)/safe fetch biolab-events data/biolab-events
	$(BIN)/snakemake real_biolab real_representations $(SWEEP)
	$(BIN)/safe baselines data/biolab results/baselines/biolab.csv
	$(BIN)/safe execute real_biolab

# Times of this machine; measured once training is over, so that nothing runs beside.
results/cost.json: | .venv/installed
	@mkdir -p runs
	$(BIN)/papermill --log-level WARNING notebooks/cost.ipynb runs/cost.ipynb -p rerun True

# Colours of the conjunctions by a rule, which no network learned.
results/baselines/conjunctions.csv: | .venv/installed
	$(BIN)/python -m safe_companion.binding $@

# The notebooks that show the studies, with their outputs, as the book has them.
notebooks: .venv/installed
	$(BIN)/safe execute

.venv/installed: requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/pip check
	@touch $@

# The newest versions that pyproject.toml allows; needs uv.
lock:
	uv pip compile --universal --python-version 3.11 --extra test --extra lint --upgrade --generate-hashes --no-header \
		--no-emit-index-url --no-annotate pyproject.toml -o requirements.lock

# What can be made again in minutes; runs/ and results/ stay.
clean:
	rm -rf .venv _build
