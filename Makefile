# Two commands: `make studio` sets up and starts Studio; `make test` sets up and runs every check.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
HOST ?= 127.0.0.1
PORT ?= 8321

# uv chooses the torch build that fits this machine; pip takes the version in constraints.txt.
ifneq ($(shell command -v uv 2>/dev/null),)
INSTALL := VIRTUAL_ENV=$(VENV) uv pip install --torch-backend=auto --constraint constraints.txt
else
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
endif

.PHONY: studio test lint format docs default-model clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' Makefile | column -t -s '|'

studio: $(VENV)/studio.stamp ## set up and start Studio
	$(BIN)/hyperclova studio --host $(HOST) --port $(PORT)

test: lint ## set up and run all checks
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist worksteal

lint: $(VENV)/dev.stamp ## style, types and the order of the floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev.stamp ## rewrite the code in the house's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/dev.stamp ## build the manual in site/
	$(INSTALL) --editable '.[docs]'
	$(BIN)/mkdocs build --strict

# From raw documents to the model we ship; HYPERCLOVA_DATA names the data. Interrupted, run again.
RUN := runs/default
default-model: $(VENV)/dev.stamp ## train models/hyperclova-small again
	$(BIN)/python models/evaluation_texts.py runs/evaluation
	HYPERCLOVA_DATA=$(HYPERCLOVA_DATA) $(BIN)/hyperclova corpus build configs/corpus/shared.toml \
	  --tokenizer models/hyperclova-small
	$(BIN)/hyperclova tokenize runs/corpus/train/*.jsonl.zst runs/corpus/held-out/*.jsonl.zst \
	  --tokenizer models/hyperclova-small --output runs/default-tokens
	$(BIN)/hyperclova pretrain configs/pretrain/default.toml --resume
	$(BIN)/hyperclova export $(RUN) models/hyperclova-small
	$(BIN)/python models/report.py $(RUN) models/hyperclova-small

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/studio.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[studio]'
	@touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[dev]'
	@touch $@

clean: ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis site
