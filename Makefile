# Two commands: `make demo` and `make test`. Each sets itself up in .venv; nothing else is needed first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test lint docs bench bench-speed fuzz clean

demo: $(VENV)/.core
	$(BIN)/lpdseg demo --out runs/demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile

docs: $(VENV)/.core
	$(BIN)/lpdseg settings --markdown > docs/settings.md.new && mv docs/settings.md.new docs/settings.md

bench: $(VENV)/.dev
	$(BIN)/lpdseg benchmark benchmarks/configs/main.yaml --out runs/bench --jobs 2

bench-speed: $(VENV)/.dev
	$(BIN)/python benchmarks/speed.py

fuzz: $(VENV)/.dev
	$(PIP) -e '.[fuzz]'
	nice $(BIN)/python benchmarks/fuzz/run.py --out runs/fuzz/result.md

$(VENV)/.core: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'lpdseg needs Python 3.11 or newer; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)'; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) -e '.[imagenet,view]'
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	$(PIP) -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache
