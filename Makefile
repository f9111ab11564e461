# `make demo` shows the product; `make test` passes the tests. Both make .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint bench chaos screenshots access generate clean

demo: $(STAMP)
	$(BIN)/auditpipe demo

# Files side by side, each group of tests with a node of its own: most of the time is waiting. WORKERS=0: one by one.
test: $(STAMP)
	$(BIN)/python -m pytest --numprocesses $(or $(WORKERS),3) --dist loadfile --no-loadscope-reorder

# AUDIT=--strict fails where nobody can be asked about the dependencies.
lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tests.lint.secret_scan
	$(BIN)/python -m tests.lint.dependency_audit $(AUDIT)

# All but the console's figures, which want a million events: make bench BENCH=console, and EVENTS for another number.
bench: $(STAMP)
	$(BIN)/python -m benchmarks $(BENCH) $(if $(EVENTS),--events $(EVENTS))

# Faults of every kind at once, then: is an event lost, doubled or altered? MINUTES, SEED, SHIPPER as docs/reliability.md.
chaos: $(STAMP)
	$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),5) $(if $(SEED),--seed $(SEED)) --shipper $(or $(SHIPPER),auto)

# The published JSON Schema, the index mapping and the generated documents, from the code that defines them.
generate: $(STAMP)
	$(BIN)/python -m auditpipe.cli.generate

# docs/access.md, from what a real node answers to each role.
access: $(STAMP)
	$(BIN)/python -m pytest tests/pipeline/test_refusals.py --write-table

# The pictures in the documents, from the browser tests' own events. Needs Chromium.
screenshots: $(STAMP)
	$(BIN)/python -m pytest tests/dashboards/console -k pictures --screenshots docs/images

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
