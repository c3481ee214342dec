# Everything runs in .venv, which is made from the hash-pinned lock files the first time it is needed (.ci/venv).
# Paths are relative throughout, so the folder's own path may hold blanks.

BIN := .venv/bin
# Tests wait for servers and disks more than they compute: more of them at once than there are cores.
JOBS ?= 4

.PHONY: help venv demo test conformance image check bench soak format lock wheel sbom clean

help:
	@echo "make demo     the whole product in a minute, on a temporary server (KEEP=1 leaves its folder behind)"
	@echo "make test     all tests (JOBS=$(JOBS) processes; ARGS=… goes to pytest)"
	@echo "make conformance   install the readers of environment files, run the matrix, write it to docs/dotenv.md"
	@echo "make image    build the container image with buildah, and test it"
	@echo "make check    formatting, lint, types, import directions"
	@echo "make format   write the formatting"
	@echo "make bench    the table of ratios"
	@echo "make soak     all long forms: many more examples, every injected fault, 200 kills, 10,000 secrets"
	@echo "make lock     remake requirements/ (ARGS=--upgrade for newer versions)"
	@echo "make wheel    dist/*.whl, the same bytes from the same commit on every machine"
	@echo "make sbom     dist/sbom-client.json and dist/sbom-server.json (CycloneDX), from the lock"
	@echo "make venv     only .venv, with the tools"
	@echo "make clean    remove what was made, .venv too"

.venv/.server: requirements/server.txt requirements/build.txt pyproject.toml .ci/venv
	@.ci/venv server
	@touch $@

.venv/.dev: requirements/dev.txt requirements/build.txt pyproject.toml .ci/venv
	@.ci/venv dev
	@touch $@ .venv/.server

venv: .venv/.dev

demo: .venv/.server
	@$(BIN)/stronghold demo

test: .venv/.dev
	$(BIN)/python -m pytest -n $(JOBS) --ignore tests/container --ignore tests/faults/test_injected_starts.py $(ARGS)

conformance: .venv/.dev
	.ci/conformance
	PYTHONPATH=.:server $(BIN)/python -m tests.conformance.make_matrix $(ARGS)

image: .venv/.dev
	$(BIN)/python -m pytest tests/container -o session_timeout=3600 --timeout 1800 $(ARGS)

check: .venv/.dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.dev
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: .venv/.server
	@$(BIN)/python bench/run.py $(ARGS)

soak: .venv/.dev
	FAULTS=full $(BIN)/python -m pytest -n $(JOBS) -o session_timeout=36000 --timeout 3600 --hypothesis-profile soak tests/properties tests/faults $(ARGS)
	$(BIN)/python bench/large.py --rounds 3 --check

lock:
	.ci/lock $(ARGS)

wheel: .venv/.dev
	.ci/wheel dist

sbom: .venv/.dev
	.ci/tools
	.ci/sbom dist

clean:
	rm -rf .venv .venv-lock .venv-tools build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf *.egg-info
