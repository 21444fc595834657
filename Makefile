# The commands of this collection. `make` alone lists them.
# Everything they make lies in .work/, which git ignores; removing that folder undoes all of it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Any Python 3.11 or newer: make PYTHON=python3.13 setup
PYTHON = $(shell tools/find-python)
VENV := .work/venv
# A second virtual environment, with the newest ansible-core, where the machine has Python 3.13.
LATEST := .work/venv-latest
# A server that the integration tests check (tests/integration/health/mlflow-requirements.txt).
MLFLOW := .work/mlflow
# The program that starts playbooks by alerts (tests/integration/eda/rulebook-requirements.txt).
RULEBOOK := .work/rulebook
COLLECTION := .work/collections/ansible_collections/sre/runbooks
PIP_INSTALL := -m pip install --disable-pip-version-check

# What pip says is of interest only when it fails.
quietly = mkdir -p .work/log; $(1) >.work/log/pip.log 2>&1 || { cat .work/log/pip.log; exit 1; }

APP_REQUIREMENTS := $(wildcard tests/reference_app/requirements.txt)
RUN_REQUIREMENTS := requirements.txt requirements-run.txt $(APP_REQUIREMENTS)
DEV_REQUIREMENTS := $(RUN_REQUIREMENTS) requirements-dev.txt

# Programs of the virtual environment first; one place for what the tools write besides.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PYTHONPYCACHEPREFIX := $(CURDIR)/.work/cache/pycache

.PHONY: help mlflow rulebook setup setup-run setup-latest packages demo test lint sanity unit integration molecule latest bench docs site build artifact format clean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- Set-up ----------------------------------------------------------------------------------------------------------
# The stamps carry the date of the last install: nothing is done while the requirements are older.

setup: $(VENV)/.dev $(COLLECTION) ## Virtual environment with all tools, the collection where Ansible finds it
	@:
setup-run: $(VENV)/.run $(COLLECTION)
setup-latest: $(LATEST)/.dev $(COLLECTION)

$(VENV)/bin/python:
	@python="$(PYTHON)"; [ -n "$$python" ] && "$$python" -m venv $(VENV)

$(VENV)/.run: $(RUN_REQUIREMENTS) | $(VENV)/bin/python
	@echo "Installing what a run needs into $(VENV)"
	@$(call quietly,$(VENV)/bin/python $(PIP_INSTALL) -r requirements-run.txt $(addprefix -r ,$(APP_REQUIREMENTS)))
	@touch $@

$(VENV)/.dev: $(DEV_REQUIREMENTS) | $(VENV)/bin/python
	@echo "Installing the development tools into $(VENV)"
	@$(call quietly,$(VENV)/bin/python $(PIP_INSTALL) -r requirements-dev.txt $(addprefix -r ,$(APP_REQUIREMENTS)))
	@touch $(VENV)/.run $@

$(LATEST)/.dev: $(DEV_REQUIREMENTS)
	@[ -x $(LATEST)/bin/python ] || "$$(tools/find-python 3.13)" -m venv $(LATEST)
	@echo "Installing the development tools into $(LATEST)"
	@$(call quietly,$(LATEST)/bin/python $(PIP_INSTALL) -r requirements-dev.txt $(addprefix -r ,$(APP_REQUIREMENTS)))
	@touch $@

mlflow: $(MLFLOW)/.done ## The MLflow server of the integration tests
$(MLFLOW)/.done: tests/integration/health/mlflow-requirements.txt
	@rm -rf $(MLFLOW) && "$$(tools/find-python)" -m venv $(MLFLOW)
	@echo "Installing an MLflow server into $(MLFLOW)"
	@$(call quietly,$(MLFLOW)/bin/python $(PIP_INSTALL) -r $<)
	@$(call quietly,$(MLFLOW)/bin/python $(PIP_INSTALL) --no-deps "mlflow==$$(sed -n 's/^mlflow-skinny==//p' $<)")
	@touch $@

rulebook: $(RULEBOOK)/.done ## The ansible-rulebook of the integration tests
$(RULEBOOK)/.done: tests/integration/eda/rulebook-requirements.txt
	@rm -rf $(RULEBOOK) && "$$(tools/find-python)" -m venv $(RULEBOOK)
	@echo "Installing ansible-rulebook into $(RULEBOOK)"
	@$(call quietly,$(RULEBOOK)/bin/python $(PIP_INSTALL) -r $<)
	@touch $@

$(COLLECTION):
	@mkdir -p $(@D) && ln -sfn ../../../.. $@

packages: ## Install the system packages of the tests (as root), or name those that are missing
	@tools/packages

# --- The two commands of the README ----------------------------------------------------------------------------------

demo: setup-run ## A daily run on this machine: reference application, SQLite, no root, everything stopped again
	@tests/reference_app/demo

test: packages setup ## Everything: lint, sanity, unit, integration, Molecule, and the newest ansible-core
	@python tools/test.py

# Files of tests side by side; each worker has servers of its own.
PARALLEL := --numprocesses 2 --dist loadfile --no-loadscope-reorder

# --- Parts of `make test` --------------------------------------------------------------------------------------------

lint: setup ## ruff, mypy, yamllint, ansible-lint, shellcheck, documentation and its site, change log, galaxy-importer
	@tools/lint

sanity: setup ## ansible-test sanity, with no ignore file
	@python tools/sanity.py

unit: setup ## Unit tests
	@pytest tests/unit $(PARALLEL) $(ARGS)

integration: setup mlflow rulebook ## Integration tests: real servers of this machine's packages
	@pytest tests/integration $(PARALLEL) $(ARGS)

image: ## Build the image of the lab's hosts, unless podman has it
	@tests/lab/enter tests/lab/image

molecule: setup ## Molecule scenarios on systemd hosts
	@tests/lab/enter tests/lab/molecule

# The daily playbook is run there too, as the demo.
latest: setup-latest ## Unit tests, sanity and the demo on Python 3.13 and the newest ansible-core
	@PATH="$(CURDIR)/$(LATEST)/bin:$$PATH"; ansible --version | sed -n 1p; pytest tests/unit; python tools/sanity.py; tests/reference_app/demo

bench: setup ## The figures of docs/performance.md, one line of JSON each
	@tests/benchmarks/run

# --- Files that follow from others -----------------------------------------------------------------------------------

docs: setup ## Write registries, role READMEs and indexes anew
	@python tools/generate.py

site: setup ## Build the site of the documentation into .work/site/html
	@python tools/site/build.py

format: setup ## Format Python
	@ruff format --quiet . && ruff check --quiet --fix-only .

build: setup ## Build the artifact into .work/dist/
	@mkdir -p .work/dist && ansible-galaxy collection build --force --output-path .work/dist

artifact: setup ## Build the artifact, and hand it to galaxy-importer as Galaxy does
	@rm -f .work/dist/*.tar.gz && $(MAKE) --no-print-directory build && tools/import_artifact .work/dist

clean: ## Remove .work/
	@rm -rf .work
