# Everything a developer or an operator does. Needs Python 3.11 or newer and make; the rest comes by pip and npx.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
# The CDK library runs on Node, which is among what the environment brings.
RUN := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python
PARALLEL := --numprocesses auto --dist loadgroup
LOCKS := requirements.txt runtime/requirements.txt requirements-dev.txt
LOCKED := $(LOCKS) local/requirements.txt
BILL := $(BIN)/python -W ignore -m cyclonedx_py requirements --pyproject pyproject.toml --output-reproducible
# Strict: a package that the database doesn't know is not a safe one.
AUDIT := $(BIN)/pip-audit --strict --disable-pip --progress-spinner off

# A path, which make must not expand and the shell must not read as code.
override DICOM := $(value DICOM)
export DICOM

.DEFAULT_GOAL := help
.PHONY: help demo env stop check test stress lint synth preflight deploy verify cost advisories bench clean stage
.PHONY: check-style check-types check-units test-all

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

demo: $(READY) ## Run the pipeline on this machine: DICOM=<file or folder> takes your own, KEEP=1 leaves it running
	@$(BIN)/python -m local.demo "--dicom=$$DICOM" $(if $(KEEP),--keep)

env: $(READY) ## Print what makes a shell talk to the demo that KEEP=1 left running: eval "$(make -s env)"
	@$(BIN)/python -m local.runs env

stop: $(READY) ## Stop what `make demo KEEP=1`, or a demo that was killed, left running
	@$(BIN)/python -m local.runs stop

check: $(READY) ## Check style and types and run unit tests, in parallel: ARGS=<path> runs those of one file
	@$(MAKE) --no-print-directory --jobs=3 check-style check-types check-units

test: $(READY) ## Run `make check` with infrastructure and end-to-end tests and a floor on coverage: ARGS=<path> for a part
	@$(MAKE) --no-print-directory --jobs=3 check-style check-types test-all

stress: $(READY) ## Load the pipeline on the emulator, inject faults, kill functions, and print figures: OBJECTS=1000
	STRESS_OBJECTS=$(or $(OBJECTS),1000) $(RUN) -m pytest -p no:randomly tests/stress $(ARGS)

lint: check-style check-types ## Check style and types only

check-style: $(READY)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .

check-types: $(READY)
	@$(BIN)/mypy

check-units: $(READY)
	@$(RUN) -m pytest --quiet $(or $(ARGS),$(PARALLEL) tests/unit)

# Only everything together reaches the floor.
test-all: $(READY)
	@$(RUN) -m pytest $(PARALLEL) $(or $(ARGS),--cov --cov-fail-under=85)

synth: stage $(READY) ## Write template and bills of materials, and print a review: STAGE=dev, BASE=<revision> compares
	@$(BIN)/python -m local.cdk synth --quiet --context stage=$(STAGE) $(ARGS)
	@$(BILL) runtime/requirements.txt -o cdk.out/sbom-layer.cdx.json
	@$(BILL) requirements.txt -o cdk.out/sbom-tools.cdx.json
	@$(RUN) -m imaging_pipeline.operations.review $(if $(BASE),--base "$(BASE)") --context stage=$(STAGE) $(ARGS)

preflight: stage $(READY) ## Look, reading only, for what would go wrong: STAGE=dev, OBJECTS_PER_HOUR=<number>
	@$(RUN) -m acceptance.preflight --stage $(STAGE) $(if $(OBJECTS_PER_HOUR),--objects-per-hour "$(OBJECTS_PER_HOUR)") $(ARGS)

deploy: stage $(READY) ## Deploy with your own AWS credentials: STAGE=dev
	@$(BIN)/python -m local.cdk deploy --all --context stage=$(STAGE) $(ARGS)

verify: stage $(READY) ## Verify a deployed stage by objects of its own, which it removes: STAGE=dev
	@$(RUN) -m acceptance.verification --stage $(STAGE) $(ARGS)

cost: stage $(READY) ## What a million objects and a month cost at list prices: STAGE=dev OBJECTS_PER_DAY=10000
	@$(RUN) -m imaging_pipeline.operations.cost --stage $(STAGE) $(if $(OBJECTS_PER_DAY),--objects-per-day "$(OBJECTS_PER_DAY)") $(ARGS)

advisories: $(READY) ## Report known vulnerabilities of what is pinned; never fails
	@found="$$($(AUDIT) $(addprefix -r ,$(LOCKED)) $(ARGS) 2>/dev/null)" && echo "No known vulnerability: $(LOCKED)" || \
	  echo "$${found:-Vulnerabilities are unknown: the database can't be reached, or lacks a package. Try another network.}"

bench: $(READY) ## Measure, side by side with other tools
	@$(BIN)/python -m tests.benchmarks $(ARGS)

clean: ## Stop what is left running, and remove environments, builds and caches
	@if [ -e $(READY) ]; then $(BIN)/python -m local.runs stop; fi
	rm -rf .venv .emulator .bench .build build *.egg-info cdk.out .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis

stage:
	@$(if $(STAGE),:,$(error Say which stage: STAGE=dev, staging or prod))

# What it says goes where `eval` of `make env` doesn't read it.
$(READY): $(LOCKS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "This needs Python 3.11 or newer, and $(PYTHON) is not: name one with PYTHON=<path>." >&2; exit 1; }
	@echo "Making a virtual environment, .venv" >&2
	@$(PYTHON) -m venv --clear .venv || \
	  { echo "$(PYTHON) can't make virtual environments: install its venv module (Debian: python3-venv)." >&2; exit 1; }
	@echo "Installing the packages that requirements.txt and others pin, 1.1 GB with the CDK library and Node:" >&2
	@echo "a minute or two, once; pip is silent meanwhile" >&2
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --require-hashes \
	  --only-binary :all: $(addprefix -r ,$(LOCKS)) >&2
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-index \
	  --no-build-isolation --editable . >&2
	@$(BIN)/python -m pip check >&2
	@touch $@
