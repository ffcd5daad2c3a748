# Every target makes its own .venv with the system's python3; nothing has to be installed by hand.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready

.PHONY: venv demo test check format faults bench bench-console screenshots proto lock packages clean

venv: $(STAMP)

$(STAMP): requirements.lock pyproject.toml .ci/make-venv
	@.ci/make-venv "$(PYTHON)" .venv
	@touch $@

demo: venv  ## a whole subnet on this machine, and the console attached to it
	@$(BIN)/basilica-tui demo

test: venv packages  ## everything: real sshd, PostgreSQL, tmux, snapshots, wheel
	@.ci/run-tests $(BIN)

packages:
	@.ci/install-packages

check: venv  ## format, lint, types, import rules, unit tests: a minute or two
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m pytest -q -x tests/unit

format: venv
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

faults: venv packages  ## faults on purpose (docs/faults.md); FAULTS=full for 500 kills, FAULT_SEED=n repeats a run
	@FAULTS=$${FAULTS:-1} $(BIN)/python -m pytest -q tests/faults

bench: venv packages  ## figures: ratios against what users have today and the physical limit
	@$(BIN)/python -m tests.bench

bench-console: venv  ## what the console sends to a terminal, and how soon a key shows, at 100 and 1,000 nodes
	@$(BIN)/python -m tests.bench console terminal

screenshots: venv  ## screenshots/*.svg and *.png of every screen, from the demo
	@$(BIN)/python -m tests.screenshots

proto: venv  ## regenerate engine/wire from proto/
	@$(BIN)/python -m engine.wire.generate

lock:  ## exact versions for every supported Python (needs uv)
	uv pip compile --universal --python-version 3.11 --extra dev --no-header --no-annotate -q pyproject.toml -o requirements.lock

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
