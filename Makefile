# Everything a fresh machine needs is made here: .venv, and in it the project with all extras.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Rules of flake8-async left out. 109: our calls take a timeout on purpose, it travels with the message.
# 114, 122: settings of a rule, and old trio. 240: looking at a local path takes microseconds. 124, 910, 911: a message handler need not wait for anything.
# 912: a deadline around work that waits only sometimes. Everything about swallowed cancellation stays on.
ASYNC_RULES := --enable=ASYNC --disable=ASYNC109,ASYNC114,ASYNC122,ASYNC124,ASYNC240,ASYNC910,ASYNC911,ASYNC912

.PHONY: demo test faults lint types bench simulate clean

demo: $(STAMP)
	@$(BIN)/python -m examples.chat.demo $(ARGS)

test: $(STAMP)
	@$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

# All faults against all components, on real servers; some minutes. make faults ARGS="F1 F3" for a few of them.
faults: $(STAMP)
	@$(BIN)/python -m tests.faults $(ARGS)

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@find runtime supervisors actors src/resprout examples -name '*.py' | xargs $(BIN)/flake8-async $(ASYNC_RULES)

types: $(STAMP)
	@$(BIN)/mypy
	@$(BIN)/mypy examples benchmarks $(wildcard tests/typing/*.py tests/faults/*.py)
	@$(BIN)/pyright

# make simulate SEEDS=10000, or SEED=17 for one that failed.
simulate: $(STAMP)
	@$(BIN)/python -m resprout.testing.simulate $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),500)) $(ARGS)

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
