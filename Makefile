# Everything from a fresh clone: `make optimize`, `make test`, `make check`. Needs Python 3.11+ and a C compiler.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
LOWEST := .venv-lowest
PROFILE ?= aggressive
# Files of tests go to two processes, in the order of tests/conftest.py.
SPREAD := -n 2 --dist loadfile --no-loadscope-reorder
# What Python has compiled is kept: tests start it thousands of times.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: optimize benchmark report test test-slow test-stress test-lowest check format install clean

optimize: $(STAMP)
	$(BIN)/grandopt optimize --profile $(PROFILE)

benchmark: $(STAMP)
	$(BIN)/grandopt benchmark --profile $(PROFILE)

report: $(STAMP)
	$(BIN)/grandopt report show reports/optimization_report.json
	$(BIN)/grandopt report html reports/optimization_report.json

# COVERAGE=1 also notes which lines ran, for `coverage report`.
test: $(STAMP)
	$(BIN)/python -m pytest -m "not slow and not stress" $(SPREAD) $(if $(COVERAGE),--cov=grandopt --cov-report=)

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m "slow and not stress" $(SPREAD)

test-stress: $(STAMP)
	$(BIN)/python -m pytest -m "stress"

# The fast tests with the lowest versions that pyproject.toml allows; torch is the pinned one here too.
test-lowest: $(LOWEST)/.installed
	$(LOWEST)/bin/python -m pytest -m "not slow and not stress" $(SPREAD)

$(LOWEST)/.installed: pyproject.toml constraints.txt tests/packaging/lowest_versions.py
	test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python tests/packaging/lowest_versions.py pyproject.toml > $(LOWEST)/lowest.txt
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check -c $(LOWEST)/lowest.txt torch==2.13.0 -e '.[dev,all]'
	touch $@

check: $(STAMP)
	$(BIN)/ruff format --check grandopt tests
	$(BIN)/ruff check grandopt tests
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(STAMP)
	$(BIN)/ruff format grandopt tests
	$(BIN)/ruff check --fix grandopt tests

install: $(STAMP)

# torch goes first and pinned: any other range would bring gigabytes of CUDA packages.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "grandopt needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; call make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,all]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) $(LOWEST) artifacts .grandopt build dist
