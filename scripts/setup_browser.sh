#!/usr/bin/env bash
# Installs Debian's Chromium for the tests of the report's page, if root may do so and it is missing. Without it these
# tests are skipped.
set -euo pipefail
command -v chromium >/dev/null && command -v chromedriver >/dev/null && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then exit 0; fi
printf '\033[1m[setup]\033[0m installing chromium and chromium-driver for the tests of the report\n'
{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends chromium chromium-driver; } \
  >/dev/null 2>&1 || printf '\033[1m[setup]\033[0m Chromium could not be installed: the tests of the report are skipped\n'
