# The commands of a working day; `make` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup check format imports test quick live demo ci

help:  ## this list
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/: .*## /\t/' | expand -t 12

setup:  ## install for work on it
	pip install -c constraints.txt -e ".[test]"

check:  ## lint, format, types, imports
	ruff check . && ruff format --check . && mypy && lint-imports

format:  ## put files in order
	ruff check --fix . && ruff format .

imports:  ## who may import what
	lint-imports

quick:  ## the quick tests
	pytest -q -n 2 --dist loadfile

test:  ## all tests
	pytest --all -q -n 2 --dist loadfile

live:  ## tests in a real ComfyUI (comfy install, or COMFYUI_DIR)
	pytest -q tests/nodes tests/core/render

demo:  ## score, shift and repair the bundled clip
	synclip demo

ci:  ## everything, on a clean checkout
	.ci/run
