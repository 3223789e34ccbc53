#!/usr/bin/env bash
# Builds .venv-verifiers with verifiers, whose pins conflict with those of the project's extras (openai) and dependencies
# (mcp, overridden), and with the project itself, which plays the exported tasks. A second call does nothing.
#   scripts/setup_verifiers.sh [.venv-verifiers]
set -euo pipefail
cd "$(dirname "$0")/.."
environment=${1:-.venv-verifiers}
key=$(cat pyproject.toml requirements/*verifiers*.txt scripts/setup_verifiers.sh | sha256sum | cut -c1-16)
stamp=$environment/.setup-$key
[ -f "$stamp" ] && exit 0

uv=$(command -v uv || echo .venv/bin/uv)
[ -x "$environment/bin/python" ] || "$uv" venv --quiet --python .venv/bin/python "$environment"
"$uv" pip install --quiet --python "$environment/bin/python" --constraint requirements/lock-verifiers.txt \
  --override requirements/verifiers-overrides.txt -r requirements/verifiers.txt -e .
rm -f "$environment"/.setup-*
touch "$stamp"
