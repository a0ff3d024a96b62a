# Each target does all of its own set-up; a second call finds it done and starts at once.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: demo test check docs clean
.DEFAULT_GOAL := demo

demo: $(READY)  ## the main job on scikit-learn's digits: table, report.html
	@$(BIN)/fasthebb demo --out runs/demo

test: $(READY)  ## every test, in parallel
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

check: $(READY)  ## format, lint, types, layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

docs: $(READY)  ## the documentation, as docs/_build/index.html; any warning is an error
	@$(BIN)/python -m sphinx -q -W --keep-going -b html -d docs/_build/.doctrees docs docs/_build
	@echo "fasthebb: docs/_build/index.html"

$(READY): pyproject.toml constraints.txt
	@echo "fasthebb: setting up $(VENV) (once; downloads PyTorch, which takes a few minutes)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "fasthebb: Python %d.%d found, 3.10 or newer needed; try make PYTHON=python3.12" % sys.version_info[:2])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "fasthebb: installing dependencies"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)
	@echo "fasthebb: ready"

clean:  ## forget the set-up and every run
	rm -rf $(VENV) runs build dist docs/_build src/*.egg-info
