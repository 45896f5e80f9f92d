# The interface of this repository. `make` alone lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
# Each target starts Python hundreds of times: what was compiled once is kept, whatever the caller's shell says.
unexport PYTHONDONTWRITEBYTECODE
# How much of plugins/ is run, lines and branches together; a run of single tests does not ask.
COVERAGE := --cov --cov-report=term --cov-fail-under=90
# Three files at a time, since tests also wait; the gates first, which take longest.
SIDE_BY_SIDE := --numprocesses=3 --dist=loadfile --no-loadscope-reorder
# The lab has this many nodes, one of them the head.
export LAB_NODES ?= 2

# The collection as Ansible looks for it: this checkout under its own name.
COLLECTION := build/collections/ansible_collections/onecc/vllm
LAB := ansible-playbook -i localhost,

.PHONY: help env lab-up lab-down lab-purge demo test check bench-download bench-deploy chaos gpu-bundle gpu docs lock clean

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

env: .venv/stamp $(COLLECTION) ## the controller's Python environment, in .venv

.venv/stamp: requirements/dev.txt tests/bootstrap.sh
	tests/bootstrap.sh .venv requirements/dev.txt
	touch $@

$(COLLECTION):
	mkdir -p $(@D)
	ln -sfn $(CURDIR) $@

lab-up: env ## a 1-Click Cluster in a box: LAB_NODES nodes with SSH, systemd, Docker, shared storage
	$(LAB) tests/lab/up.yml

lab-down: env ## take the lab down; caches stay
	$(LAB) tests/lab/down.yml

lab-purge: env ## take the lab down, with caches, images and shared storage
	$(LAB) tests/lab/down.yml -e lab_purge=true

demo: lab-up ## from nothing to an answer: lab, deploy, verify
	# A hub with a rate, as in life, so that there is a download to watch.
	echo '{"rate": 20000000}' >build/lab/hub/control.json
	ansible-playbook -i inventories/lab playbooks/deploy.yml -e model_download_progress=lines
	rm build/lab/hub/control.json
	ansible-playbook -i inventories/lab playbooks/verify.yml
	@cat tests/lab/demo.txt

test: check ## lint, unit tests, and the integration tests on the lab, one after the other
	pytest tests/integration

check: env ## what needs no lab: lint, types and unit tests, which run 90 % of plugins/ or more
	pytest tests/gates tests/unit $(SIDE_BY_SIDE) $(COVERAGE)

bench-download: export LAB_NODES = 4
bench-download: lab-up ## the download beside hf download on four nodes (about 13 min)
	tests/bench/download.py

bench-deploy: lab-up ## deploy beside a script by hand, and with nothing to do (about 15 min)
	tests/bench/deploy.py

chaos: env ## faults on the lab under load, one after the other (about 65 min); build/chaos.json
	tests/chaos/run.py

gpu-bundle: env ## what a machine with GPUs and without network takes for `make gpu`; build/gpu/parts
	tests/gpu/bundle.py

# Such a machine has no environment of this repository: run.py takes any Python.
gpu: export BUNDLE ?= build/gpu/parts
gpu: ## there, as root: what we deploy runs on its GPUs, measured (about 20 min); docs/results/gpu.json and gpu.md
	status=0; python3 tests/gpu/run.py --bundle $(BUNDLE) || status=$$?; \
	python3 tests/gpu/page.py docs/results/gpu.json docs/results/gpu.md; exit $$status

docs: env ## the documentation as a site, in build/docs/html
	docs/docsite/build.py

lock: env ## renew the lock files from their .in files
	tests/lock.sh

clean: lab-down ## take the lab down and remove what was built here
	rm -rf build .venv
