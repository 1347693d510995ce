# Everything by one word, on a machine with python3, make and a package index. `make help` lists the words.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON3 ?= python3
# The version that the constraints were tested on; any from 3.12 on will do where it is missing.
PYTHON_VERSION ?= $(shell cat .python-version)

UV := .tools/bin/uv
BIN := .venv/bin
INSTALL = $(UV) pip install --quiet --python $(BIN)/python -c constraints.txt

.PHONY: help demo test slow benchmarks calibration lint clean

help:  ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | sed 's/^/  make /' | expand -t 20

demo: .venv/.demo  ## The whole job on the real CDNOW log, in about two minutes: reports/demo/report.html
	$(BIN)/bayesdecay demo --out reports/demo

test: lint  ## Style, types and the tests, with coverage (about 15 minutes on 2 cores)
	$(BIN)/python -m pytest -n 2 --dist loadgroup --cov --cov-report=term

lint: .venv/.dev  ## Style and types only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

slow: .venv/.dev  ## The checks that take minutes: the full CDNOW log, ten shops recovered
	$(BIN)/python -m pytest -m slow --durations=0

benchmarks: .venv/.dev .venv-peers/.done  ## Every number of reports/benchmarks.md, measured here
	$(BIN)/python tests/benchmarks/run_all.py --peers-python .venv-peers/bin/python

calibration: .venv/.dev  ## Are intervals of 90 % such? Goes on where it was stopped (hours): reports/calibration.md
	$(BIN)/python -m tests.calibration.run

clean:  ## Remove the environments and everything made
	rm -rf .tools .venv .venv-peers .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* reports/demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(UV):
	@$(PYTHON3) -m venv .tools || { echo "$(PYTHON3) could not make a virtual environment, see above (on Debian the package python3-venv brings what it needs)" >&2; exit 1; }
	.tools/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.8'

# Interpreters of this machine first, then one that uv may fetch. An environment that is there is never overwritten.
.venv/bin/python: | $(UV)
	@$(UV) venv --quiet --no-python-downloads --python $(PYTHON_VERSION) .venv 2>/dev/null \
	|| $(UV) venv --quiet --no-python-downloads --python '>=3.12,<3.15' .venv 2>/dev/null \
	|| $(UV) venv --quiet --python $(PYTHON_VERSION) .venv \
	|| { echo "no Python from 3.12 to 3.14 was found and none could be fetched; install one and run make again" >&2; exit 1; }

.venv/.demo: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) -e '.[demo,fast]'
	@touch $@

.venv/.dev: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) -e '.[demo,fast,polars,spark,zarr]' --group dev
	@touch $@ .venv/.demo

# pymc-marketing does not live with the newest PyMC, so the peer has an environment of its own.
.venv-peers/.done: tests/benchmarks/peers-requirements.txt | $(UV)
	$(UV) venv --quiet --allow-existing --python '>=3.12,<3.14' .venv-peers
	$(UV) pip install --quiet --python .venv-peers/bin/python -r $<
	@touch $@
