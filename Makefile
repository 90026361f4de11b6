# Two commands on a fresh machine with Python 3.11 or newer: `make demo` and `make test`.
# Each sets up .venv from nothing and then does its job.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV   ?= .venv
# `make test EXTRAS=dev,transformers` also runs the tests of the torch backends.
EXTRAS ?= dev
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.stpe
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test coverage golden lock lint bench schemathesis clean

demo: $(STAMP)-demo
	$(BIN)/stpe demo --out demo

test: $(STAMP)-dev
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

# Slower by a third.
coverage: $(STAMP)-dev
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --cov --cov-report=term

# make lock REASON="why the output of the stages above a changed file stays as it is"
lock: $(STAMP)-dev
	$(BIN)/python tests/stages/version_lock.py "$(REASON)"

# What a change of tests/golden/golden.json means is said in the commit.
golden: $(STAMP)-dev
	$(BIN)/python tests/golden/digest.py

lint: $(STAMP)-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(STAMP)-bench
	$(BIN)/python benchmarks/quality.py
	$(BIN)/python benchmarks/propagation.py
	$(BIN)/python benchmarks/pipeline.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/reading.py
	$(BIN)/python benchmarks/kill.py
	$(BIN)/python benchmarks/simulated.py --work build/simulated

# The server against its own OpenAPI document; its pins clash with ours, so in an environment apart.
SCHEMATHESIS := .venv-schemathesis/bin/st
schemathesis: $(STAMP)-dev $(SCHEMATHESIS)
	STPE_SCHEMATHESIS=$(abspath $(SCHEMATHESIS)) STPE_SCHEMATHESIS_SECONDS=90 \
		$(BIN)/python -m pytest tests/serve/test_serve_schema.py

clean:
	rm -rf $(VENV) .venv-schemathesis demo build dist

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(SCHEMATHESIS):
	$(PYTHON) -m venv .venv-schemathesis
	.venv-schemathesis/bin/python -m pip install --quiet 'schemathesis>=4.32,<5'

$(STAMP)-demo: pyproject.toml | $(BIN)/python
	$(PIP) -e '.[rerun,sim]'
	@touch $@

$(STAMP)-dev: pyproject.toml | $(BIN)/python
	$(PIP) -e '.[$(EXTRAS)]'
	@touch $@

# Reference libraries that the benchmarks compare with. Those that would bring a second OpenCV are
# installed without their dependencies.
$(STAMP)-bench: pyproject.toml benchmarks/requirements.txt | $(STAMP)-dev
	$(PIP) -r benchmarks/requirements.txt
	$(PIP) --no-deps -r benchmarks/requirements-nodeps.txt
	@touch $@
