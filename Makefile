PYTHON ?= python

.PHONY: check format lint types test soak

check: format lint types test  ## everything that must hold before a commit

format:
	$(PYTHON) -m ruff format --check .

lint:
	$(PYTHON) -m ruff check .

types:
	$(PYTHON) -m mypy

test:
	$(PYTHON) -m pytest

soak:  ## the test plan with its larger counts; writes the table of docs/reliability.md
	$(PYTHON) tests/reliability/soak.py
