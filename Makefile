# Needs Python 3.11 or newer, git and make; everything else goes into .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ROWS   ?= 200000
PORT   ?= 8080
ADMIN_PASSWORD ?= admin
# Airflow's own data: empty for SQLite in the home, or postgresql://USER@HOST/NAME with the password in a PGPASSFILE.
DATABASE ?=
DEMO   := out/demo
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo up down test check lint types imports soak bench bench-full constraints clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | awk -F ':.*?## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/.created:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.created pyproject.toml constraints.txt
	$(PIP) install --constraint constraints.txt --editable '.[demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/.created pyproject.toml constraints.txt
	$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo ## Make sample data, run both DAGs through Airflow, write and verify reports
	@$(BIN)/governance demo --out $(DEMO) --rows $(ROWS)

up: $(VENV)/.demo ## Start a real Airflow with the DAGs and the lineage store
	@$(BIN)/governance demo --out $(DEMO) --rows $(ROWS) --prepare-only
	@$(BIN)/python -m governance.airflow.standalone up $(DEMO) dags $(PORT) $(ADMIN_PASSWORD) "$(DATABASE)"

down: ## Stop it
	@$(BIN)/python -m governance.airflow.standalone down $(DEMO)

# Tests start Python hundreds of times. Where bytecode may not be kept, each start compiles everything again: 0.8 s.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(VENV)/.dev ## Run every test
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

check: lint types imports test ## Lint, types, import contracts, tests

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

imports: $(VENV)/.dev
	$(BIN)/lint-imports

soak: $(VENV)/.dev ## Ten minutes of load while parts are killed, then check everything
	$(BIN)/python -m tests.soak

bench: $(VENV)/.dev ## Measure against the floors, at quick size
	$(BIN)/python -m tests.bench --quick

bench-full: $(VENV)/.dev ## Measure at the sizes the goals name
	$(BIN)/python -m tests.bench

constraints: $(VENV)/.dev ## Write constraints.txt from what is installed
	$(PIP) freeze --exclude-editable | sed -E 's/ @ .*//' | grep -E '^[A-Za-z0-9._-]+==' > constraints.txt

clean: ## Remove what was made, not the environment
	rm -rf out build dist .pytest_cache .mypy_cache .ruff_cache
