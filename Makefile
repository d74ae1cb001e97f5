PYTHON ?= python

.PHONY: check format lint types test

check: format lint types test  ## everything that must hold before a commit

format:
	$(PYTHON) -m ruff format --check .

lint:
	$(PYTHON) -m ruff check .

types:
	$(PYTHON) -m mypy

test:
	$(PYTHON) -m pytest
