# `make demo` and `make test` set everything up by themselves; both can be repeated safely.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup check test soak demo bench lock clean

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Procurator Sessions needs Python 3.11 or newer; set PYTHON=…")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --require-hashes --progress-bar on -r requirements.lock
	$(BIN)/python -m pip install --no-deps --no-build-isolation --quiet -e .
	touch $@

setup: $(VENV)/.installed ## .venv with everything installed

check: setup ## formatting, lint, types, architecture
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check ## unit and property tests, then integration on the real stack, then the browser
	$(BIN)/pytest -n 2 --max-worker-restart 0 tests/unit tests/properties
	$(BIN)/procurator fetch
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0 tests/integration -m "not soak"
	$(BIN)/pytest tests/browser

soak: setup ## the longer campaigns
	$(BIN)/procurator fetch
	$(BIN)/pytest tests -m soak --timeout 7200

demo: setup ## the whole stack with a simulated fleet, in the foreground
	$(BIN)/procurator demo

bench: setup ## every benchmark, one after the other
	for name in producer stream sink e2e live recovery verify proof query ui export finops webhooks; do $(BIN)/procurator bench $$name || exit; done

LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --no-annotate --python-version 3.11

lock: setup ## pin every dependency with its hashes: of the checkout, and of the container image (server and build back end)
	$(LOCK) --extra dev --output-file requirements.lock pyproject.toml
	echo 'setuptools>=80' | $(LOCK) --extra server --constraint requirements.lock --output-file deploy/requirements.lock pyproject.toml -

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
