# Segue. Two commands do everything on a fresh machine with Python >= 3.11 and make:
#   make demo    sets up the environment and runs the main job
#   make test    sets up the environment and runs the tests; `make faults` tries every fault on real processes
# Nothing outside this folder is changed, except that root gets missing system packages installed.

VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.ready
# torch's CPU builds differ from place to place: an interpreter that has one is preferred.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
            $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

# LeRobot needs a newer one; pyenv's are found even where another is chosen.
LEROBOT_PYTHON ?= $(shell for p in python3.12 python3.13 python3 $${PYENV_ROOT:-$$HOME/.pyenv}/versions/3.1[23].*/bin/python3; do \
            $$p -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && echo $$p && break; done)

export MUJOCO_GL ?= $(shell cat $(VENV)/.gl 2>/dev/null)
export OMP_NUM_THREADS ?= 1

.PHONY: help setup demo test test-quick check ci faults idle seeds fuzz fuzz-brief soak bench train proto clean \
        setup-lerobot test-lerobot

help:
	@sed -n 's/^#   //p' Makefile
	@echo "also: setup, test-quick, check, ci, faults, idle, seeds, fuzz, soak, bench, train, proto, clean,"
	@echo "      setup-lerobot, test-lerobot"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt scripts/ensure_gl.sh
	@[ -n "$(PYTHON)" ] || { echo "Segue needs Python 3.11 or newer; say which with make PYTHON=/path/to/python"; exit 1; }
	@echo "setting up $(VENV) with $(PYTHON) (some minutes the first time)"
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@sh scripts/ensure_gl.sh $(BIN)/python $(VENV)/.gl
	@touch $(STAMP)

demo: setup
	@$(BIN)/segue demo --output_dir=outputs/demo

test: setup
	$(BIN)/python -m pytest -m "not faults and not idle"

test-quick: setup
	$(BIN)/python -m pytest -m "not slow and not e2e and not faults and not idle"

# The table of faults on real processes: what was promised, what was measured. About ten minutes.
faults: setup
	$(BIN)/python -m pytest -m faults

# Links that have nothing to do for five minutes, side by side: they must live. About six minutes.
idle: setup
	$(BIN)/python -m pytest -m idle

# A minute of robot time for each seed, with faults, under a virtual clock.
SEEDS ?= 500
seeds: setup
	$(BIN)/python -m segue.testing.seeds --seeds $(SEEDS) --jobs 2

# Coverage-guided fuzzing of decoders and configuration: an hour, or briefly.
FUZZ_SECONDS ?= 3600
fuzz: setup
	$(BIN)/python -m tests.fuzz.run --seconds $(FUZZ_SECONDS) --jobs 2

fuzz-brief: setup
	$(BIN)/python -m tests.fuzz.run --seconds 70 --optional

# Eight robots for half an hour with a fault every few seconds: nothing grows, nothing moves wrongly.
soak: setup
	$(BIN)/python -m tests.soak --minutes 30 --arms 8 --folder outputs/soak

# LeRobot's own code, unmodified, in an environment of its own outside this folder, against the emulated arm.
setup-lerobot:
	@sh scripts/setup_lerobot.sh "$(LEROBOT_PYTHON)"

test-lerobot:
	@PYTHONPATH=src sh scripts/setup_lerobot.sh "$(LEROBOT_PYTHON)" -m pytest -m lerobot tests/lerobot

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

ci: check test test-lerobot fuzz-brief seeds faults idle

bench: setup
	@$(BIN)/segue bench --output_dir=outputs/bench

# Recreates the weights of builtin:belt from nothing, in about 20 minutes on two cores.
train: setup
	$(BIN)/python training/record.py --out outputs/belt.npz
	$(BIN)/python training/train.py --data outputs/belt.npz --out src/segue/policies/weights/belt.safetensors

# Old tools on purpose: what they generate runs with every protobuf since 5.29, so users need not upgrade theirs.
proto: setup
	@[ -x $(VENV)-proto/bin/python ] || $(PYTHON) -m venv $(VENV)-proto
	@$(VENV)-proto/bin/pip install --quiet --disable-pip-version-check \
	    'grpcio-tools==1.71.2' 'mypy-protobuf==3.6.0' 'setuptools<81'
	PATH="$(VENV)-proto/bin:$$PATH" $(VENV)-proto/bin/python -m grpc_tools.protoc -Isrc --python_out=src \
	    --grpc_python_out=src --mypy_out=src --mypy_grpc_out=src src/segue/wire/policy.proto

clean:
	rm -rf $(VENV) $(VENV)-proto outputs build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests training -name __pycache__ -type d -exec rm -rf {} +
