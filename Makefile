# make run     set up .venv and train BCCL on long-tailed digits
# make test    set up .venv and run the tests, but for the slow ones
# make test-slow  those: whole runs in processes of their own, two minutes
# make test-all   all of them
# make faults  two minutes of faults done to small runs, which must lose nothing (docs/reliability.md)
# make lint    ruff
# make docs    builds the documentation into build/site; any warning fails it
# PYTHON=python3.12 chooses the interpreter of a new .venv.

PYTHON ?= python3
VENV ?= .venv
REQUIREMENTS := $(shell nvidia-smi >/dev/null 2>&1 && echo requirements.txt || echo requirements-cpu.txt)

.PHONY: run test test-slow test-all faults lint docs setup setup-dev
run: setup
	$(VENV)/bin/python -m bccl_jax.main --config=digits_lt

test: setup-dev
	$(VENV)/bin/python -m pytest

test-slow: setup-dev
	$(VENV)/bin/python -m pytest -m slow

test-all: test-slow test

faults: setup-dev
	$(VENV)/bin/python -m faults --minutes=2

lint: setup-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

docs: $(VENV)/installed-docs.txt
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict --quiet
	@echo "built; look at it by $(VENV)/bin/python -m http.server --directory=build/site"

setup: $(VENV)/installed-$(REQUIREMENTS)
setup-dev: $(VENV)/installed-requirements-dev.txt

# A stamp older than its list, or missing, means that the environment is not current.
$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "error: there is no $(PYTHON); name a Python of 3.11 or newer by PYTHON=" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $$($(PYTHON) --version) is older than 3.11; name a newer one by PYTHON=" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed-$(REQUIREMENTS): requirements.txt requirements-cpu.txt requirements/cuda.txt requirements/tfds.txt | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet -r $(REQUIREMENTS)
	@touch $@

$(VENV)/installed-requirements-dev.txt: requirements-dev.txt requirements/export.txt requirements/tfds.txt $(VENV)/installed-$(REQUIREMENTS)
	$(VENV)/bin/python -m pip install --quiet -r requirements-dev.txt
	@touch $@

$(VENV)/installed-docs.txt: requirements/docs.txt | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet -r requirements/docs.txt
	@touch $@
