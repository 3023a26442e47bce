# Two targets do all the set-up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNS ?= runs
INSTALLED := $(VENV)/.installed

.PHONY: demo test quick lint type fmt hooks data features docs bench wheel clean

# Tests that run in seconds and touch every room: the maths, a step, a checkpoint, the configuration, packing, the command line.
CORE := tests/objectives tests/nets/test_layers.py tests/engine/test_steps.py tests/engine/test_loop.py tests/runs tests/config/test_config.py \
	tests/data/loading/test_order.py tests/data/loading/test_store.py tests/metrics/test_frechet.py tests/sample/test_latents.py tests/test_ground.py

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): PyTorch and a few packages, some minutes the first time"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(INSTALLED)  ## train on coloured letters for five minutes, then generate images
	$(BIN)/kantor train --runs $(RUNS) --name demo --time-budget 5m
	$(BIN)/kantor generate latest --runs $(RUNS) --grid 16x4
	@echo "Results: the newest folder in $(RUNS)/ — open report.html, samples/fixed, animation-fixed.gif and generated/00000/sheet.png"

test: $(INSTALLED)  ## style, types, import rules and all tests
	$(MAKE) lint type
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal --junitxml=.pytest_cache/results.xml
	@echo "Results: all tests passed; details in .pytest_cache/results.xml"

quick: $(INSTALLED)  ## while you work: style, types, import rules and a core of tests, in under a minute
	$(MAKE) lint type
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal $(CORE)
	@echo "Results: the core passed; run \`make test\` before you submit"

hooks: $(INSTALLED)  ## run style and types on changed files at each commit
	$(BIN)/pre-commit install

lint: $(INSTALLED)
	$(BIN)/ruff check src tests scripts benchmarks docs/examples
	$(BIN)/ruff format --check src tests scripts benchmarks docs/examples
	$(BIN)/lint-imports

type: $(INSTALLED)
	$(BIN)/mypy

fmt: $(INSTALLED)
	$(BIN)/ruff check --fix src tests scripts benchmarks docs/examples
	$(BIN)/ruff format src tests scripts benchmarks docs/examples

data:  ## real datasets for tests, unpacked into data/: Fashion-MNIST and digits; WITH="clipart emoji units" adds three in colour
	bash scripts/data.sh data $(WITH)

features: $(INSTALLED)  ## train kantor-small, the network that scores are measured with (needs `make data`; a quarter of an hour)
	$(BIN)/python -m scripts.features.train --data data

docs: $(INSTALLED)  ## build the documentation as a site, with the configuration reference generated from the schema
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/python scripts/config_reference.py
	NO_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --quiet
	@echo "Results: open site/index.html"

bench: $(INSTALLED)  ## images per second compared with the plain loop, and what surrounds the steps: some ten minutes
	$(BIN)/python benchmarks/step.py
	$(BIN)/python benchmarks/around.py
	@echo "More, and longer: benchmarks/*.py; each explains with --help what it measures"

wheel: $(INSTALLED)  ## build the wheel and run it in a bare environment
	bash scripts/check_wheel.sh

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
