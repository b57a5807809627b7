# Everything a bare machine with Python 3.11 and make needs. Each goal makes its own virtual environment.
#   make demo    runs the main job: telemetry in, usage records out
#   make test    runs the quick tests
#   make check   runs everything else that CI runs: lint, types, layers, docs, slow tests, peers, kill rounds
#   make bench   runs the benchmarks

PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3.13 python3.14 python3))
VENV := .venv
DEV := .venv-dev
BUILD := pyproject.toml setup.py MANIFEST.in
SOURCES := $(shell find src receivers exporters \( -name '*.py' -o -name '*.yaml' -o -name '*.json' -o -name '*.sql' \) -print)

# sessions use the tools of the environment that nox runs in
NOX = PATH="$(CURDIR)/$(DEV)/bin:$$PATH" nox --session

export PYTHONSAFEPATH := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test check bench clean
.DEFAULT_GOAL := demo

demo: $(VENV)/.installed
	$(VENV)/bin/meterline demo

test: $(DEV)/.installed
	$(DEV)/bin/python -m pytest -m "not slow and not peer"

check: $(DEV)/.installed
	$(NOX) lint types proto
	$(DEV)/bin/python docs/generate.py --check  # what pages show has run already, in `make test`
	$(DEV)/bin/python -m meterline.testing.peers
	$(DEV)/bin/python -m pytest -m "slow or peer"

bench: $(DEV)/.installed
	$(NOX) bench

clean:
	rm -rf $(VENV) $(DEV) build dist .nox .pytest_cache .mypy_cache .ruff_cache

$(VENV)/.installed: $(BUILD) $(SOURCES)
	@test -n "$(PYTHON)" || { echo "make: no python3 found; Meterline needs Python 3.11 or newer"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: Meterline needs Python 3.11 or newer; name one with PYTHON=..."; exit 1; }
	test -x $(VENV)/bin/pip || $(PYTHON) -m venv --clear $(VENV)
	rm -rf build  # what an earlier build left there would be installed too
	$(VENV)/bin/pip install --quiet .
	touch $@

$(DEV)/.installed: $(BUILD)
	@test -n "$(PYTHON)" || { echo "make: no python3 found; Meterline needs Python 3.11 or newer"; exit 1; }
	test -x $(DEV)/bin/pip || $(PYTHON) -m venv --clear $(DEV)
	$(DEV)/bin/pip install --quiet --editable '.[dev]'
	touch $@
