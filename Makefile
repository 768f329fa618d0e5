# `make` alone lists the targets. Needs Python 3.11 or newer with its venv module; PYTHON=... names another one.
PYTHON ?= python3
DATA   ?= .data
BIN    := .venv/bin
PIP     = $(BIN)/uv pip $(1) --quiet --python $(BIN)/python
export UV_PYTHON_DOWNLOADS := never
.PHONY: help up demo test check format lock openapi torture fuzz test-aws aws-package aws-check bench bench-long clean
help: ## List the targets
	@sed -n 's/^\([a-z -]*\):[^#]*## /\1	/p' Makefile | while IFS='	' read -r name text; do printf '%-16s %s\n' "$$name" "$$text"; done
up: .venv/.run ## Serve a hub at port 8080, its data in .data (DATA=...)
	test -e $(DATA) || $(BIN)/moneta init --data $(DATA) && $(BIN)/moneta up --data $(DATA)
demo: .venv/.run ## Play a contract between two parties and a hub, and verify it
	$(BIN)/moneta demo
test: .venv/.dev ## Run the tests; the pure packages must be covered whole
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist worksteal -m 'not dynamodb and not deployed' --cov --cov-report= $(ARGS)
	$(BIN)/coverage report --include='src/moneta/domain/*,src/moneta/signing/*,src/moneta/application/*' --fail-under=100
check: .venv/.dev ## Format, lint, types, architecture, dependencies
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports --no-logo && $(BIN)/deptry src
	$(call PIP,check) && ! grep -n '://' requirements/*.txt
format: .venv/.dev ## Format, and fix what can be fixed
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .
lock: .venv/.uv ## Choose versions anew and export them, with hashes
	for one in requirements/*.in; do $(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate $$one --output-file $${one%.in}.txt || exit 1; done
	rm -f uv.lock && $(BIN)/uv lock --quiet --python $(BIN)/python && for one in 'run --no-default-groups' 'aws --no-default-groups --extra aws --extra telemetry' 'telemetry --no-default-groups --extra telemetry' 'dev --all-extras'; do $(BIN)/uv export --quiet --frozen --format requirements-txt --no-emit-project --no-header --no-annotate $${one#* } --output-file requirements/$${one%% *}.txt || exit 1; done; rm uv.lock
openapi torture fuzz: .venv/.dev ## Write docs/openapi.json anew; cut the power, kill, fail the disk (40 minutes); call all of the API with all sorts of input
	$(BIN)/python -m $(if $(filter openapi,$@),moneta.entrypoints.http.openapi,tests.$@) $(ARGS)
test-aws: .venv/.dev aws-check ## Check the template; run what needs AWS: adapters, and the hub deployed (needs a JDK and Maven)
	$(BIN)/python -m tests.emulators $(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadscope -m 'dynamodb or deployed' $(ARGS)
aws-package: .venv/.uv ## Build the artifact of the functions (needs Python 3.13; ARGS=--host: for an emulator here)
	$(BIN)/python infra/build.py $(ARGS)
aws-check: .venv-template/.done .venv-checkov/.done ## Check infra/template.yaml, offline
	.venv-template/bin/cfn-lint infra/template.yaml && .venv-template/bin/python -m infra.check && .venv-template/bin/pytest --quiet infra && .venv-checkov/bin/checkov --config-file infra/checkov.yaml --file infra/template.yaml
bench bench-long: .venv/.dev ## Measure: speed, latency, cost (8 minutes); at a million contracts, for an hour
	$(BIN)/python -m benchmarks $(if $(filter bench-long,$@),--long)
clean: ## Remove what the other targets made, but not your data
	rm -rf .cache .venv .venv313 .coverage* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
.venv/.uv: requirements/bootstrap.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "Moneta needs Python 3.11 or newer, and $(PYTHON) is: $$($(PYTHON) --version 2>&1). Name a newer one: make PYTHON=python3.13"; exit 1; }; $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) lacks its venv module (on Debian and Ubuntu: apt install python3-venv)"; exit 1; }
	$(PYTHON) -m venv .venv && $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt && touch $@
.venv/.run: requirements/run.txt pyproject.toml .venv/.uv
	$(call PIP,install) --require-hashes -r requirements/run.txt && $(call PIP,install) --no-deps -e . && touch $@
.venv/.dev: requirements/dev.txt .venv/.run
	$(call PIP,sync) --require-hashes requirements/dev.txt && $(call PIP,install) --no-deps -e . && touch $@
.venv-%/.done: requirements/%.txt .venv/.uv
	$(PYTHON) -m venv --without-pip .venv-$* && $(BIN)/uv pip sync --quiet --python .venv-$*/bin/python --require-hashes $< && touch $@
