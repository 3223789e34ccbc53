#!/usr/bin/env bash
# Resolves every transitive version anew and writes requirements/lock-*.txt, the constraints that scripts/setup.sh installs
# with. Run it after changing a pin in pyproject.toml or requirements/{bfcl,tau2}*.txt:  make lock
set -euo pipefail
cd "$(dirname "$0")/.."

# CPU builds of PyTorch come from a local folder or from PyTorch's own index; CUDA builds from the default index.
links=(--torch-backend=cpu); [ -z "${PIP_FIND_LINKS:-}" ] || links=(--find-links "$PIP_FIND_LINKS")
compile() { # NAME ARGUMENT …: lock for Linux and the oldest Python we support; a build tag such as +cpu is left to the machine
  local lock=requirements/lock-$1.txt; shift
  .venv/bin/uv pip compile --quiet --no-header --no-annotate --python-version 3.11 --python-platform x86_64-unknown-linux-gnu \
    "$@" -o "$lock"
  sed -i 's/+cpu$//' "$lock"
  echo "$lock: $(wc -l < "$lock") packages"
}
extras=(--extra train --extra ray --extra slurm --extra eval --extra docs --extra dev)
compile cpu pyproject.toml "${extras[@]}" --extra serve-cpu --override requirements/cpu-overrides.txt "${links[@]}"
compile cuda pyproject.toml "${extras[@]}" --extra serve
compile bfcl requirements/bfcl.txt requirements/bfcl-vector.txt --override <(grep google requirements/bfcl-overrides.txt) "${links[@]}"
compile tau2 requirements/tau2.txt --override requirements/tau2-overrides.txt
compile verifiers pyproject.toml requirements/verifiers.txt --override requirements/verifiers-overrides.txt
