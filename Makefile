# Two commands: `make demo` and `make test`. Each sets itself up in .venv; nothing else is needed first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-lowest test-newest ranges sbom lint docs bench bench-speed fuzz clean

demo: $(VENV)/.core
	$(BIN)/lpdseg demo --out runs/demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

# The lower ends of the declared ranges, and the newest that resolve: each in a venv of its own, on tests of every part
# that uses a library. Golden losses hold for the versions of constraints.txt alone.
RANGE_TESTS ?= tests/test_front_door.py tests/test_settings.py tests/test_files.py tests/test_checkpoint.py tests/test_api.py \
	tests/training/test_loop.py tests/data/test_check.py tests/data/test_manifest.py tests/data/test_corrected.py \
	tests/data/test_regions.py tests/model/test_encoders.py tests/model/test_families.py tests/model/test_graph.py \
	tests/model/test_morphologies.py tests/model/test_pretrained.py tests/segmenting/test_segmenter.py \
	tests/segmenting/test_backends.py tests/evaluation/test_reliability.py tests/slides/test_tiff_slide.py \
	tests/slides/test_openslide_slide.py tests/slides/test_readers.py tests/export/test_ome_zarr.py \
	tests/export/test_ome_tiff.py tests/export/test_tiles.py tests/export/test_int8.py tests/insight/test_paper.py \
	tests/insight/test_verify.py tests/workflows/slides/test_cluster.py tests/view/test_view_slides.py \
	tests/view/test_view_guard.py tests/cli/test_main.py

test-lowest test-newest: test-%: constraints-%.txt pyproject.toml
	test -x .venv-$*/bin/python || $(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check -c $< torch
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check -c $< -e '.[dev]'
	.venv-$*/bin/python -m pytest $(RANGE_TESTS)

ranges: pyproject.toml
	test -x .venv-tools/bin/uv || { $(PYTHON) -m venv .venv-tools && .venv-tools/bin/python -m pip install --quiet uv; }
	.ci/ranges.sh .venv-tools/bin/uv

sbom: $(VENV)/.core
	test -x .venv-sbom/bin/cyclonedx-py || { $(PYTHON) -m venv .venv-sbom && .venv-sbom/bin/python -m pip install --quiet 'cyclonedx-bom>=7,<8'; }
	.venv-sbom/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --validate \
		--output-file sbom.json $(BIN)/python

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
	rm -rf $(VENV) .venv-lowest .venv-newest .venv-tools .venv-sbom sbom.json runs .pytest_cache .mypy_cache .ruff_cache
