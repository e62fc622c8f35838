# Everything that people and CI run. Needs Python 3.11 or later and make; installs the rest into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
WORKERS ?= 3
STORY ?= usb

.PHONY: help demo test check bench wheel demo-wheel clean

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/passgate: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Passgate needs Python 3.11 or later; name one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	@touch $@

$(VENV)/dev: $(BIN)/passgate
	$(PIP) --editable '.[dev]'
	@touch $@

demo: $(BIN)/passgate ## A USB stick for a VM of the simulated datacenter, approved in its Slack; STORY=pci, approvals, schedules: others
	$(BIN)/passgate demo --story $(STORY)

check: $(VENV)/dev ## Format, lint, types, layers, generated files
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m passgate.settings.schema --check
	$(BIN)/python -m passgate.engine.prefect_yaml --check
	$(BIN)/python docs/generate.py --check

test: check ## Everything that CI runs: the checks above, then all tests
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup

bench: $(VENV)/dev ## Measure Passgate beside its peers; figures go to benchmarks/out/
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.approvals

wheel: $(VENV)/dev ## Build the wheel into dist/
	rm -rf dist && $(BIN)/python -m build --wheel --outdir dist . >/dev/null

demo-wheel: wheel ## Run the demo from the wheel, alone in an empty virtual environment
	rm -rf build/wheel-venv && $(PYTHON) -m venv build/wheel-venv
	build/wheel-venv/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt dist/*.whl
	cd "$$(mktemp -d)" && $(CURDIR)/build/wheel-venv/bin/passgate demo  # outside, or it would take the checkout's flows

clean: ## Remove what was installed, built and measured
	rm -rf $(VENV) build dist benchmarks/out/*.json .pytest_cache .mypy_cache .ruff_cache .hypothesis
