# Everything a fresh machine needs is made here: .venv, and in it the project with all extras.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint types bench clean

demo: $(STAMP)
	@$(BIN)/python -m examples.chat.demo $(ARGS)

test: $(STAMP)
	@$(BIN)/python -m pytest $(ARGS)

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/flake8 --select=ASYNC --enable-visitor-codes-regex='ASYNC.*' runtime supervisors actors src/resprout/*.py src/resprout/testing examples

types: $(STAMP)
	@$(BIN)/mypy
	@$(BIN)/pyright

bench: $(STAMP)
	@$(BIN)/python -m benchmarks $(ARGS)

# Output goes to standard error, so that `make demo ARGS=--json` prints one JSON object and nothing else.
$(STAMP): pyproject.toml
	@$(PYTHON) -m venv $(VENV) >&2
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1' >&2
	@$(BIN)/python -m pip install --quiet --editable '.[all]' --group dev >&2
	@touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
