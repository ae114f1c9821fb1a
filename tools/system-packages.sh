#!/usr/bin/env bash
# Installs what some tests need and no Python package carries: by default Chromium, a Prometheus server and gcc, or what
# is named as command:package. Does nothing where all commands are there. Without root or apt-get it says what will be
# skipped and goes on; in CI the tests themselves then fail, so nothing is skipped silently.
set -euo pipefail
[ $# -gt 0 ] || set -- chromium:chromium chromium:fonts-dejavu-core prometheus:prometheus promtool:prometheus \
  gcc:gcc gcc:libc6-dev
missing=()
for need in "$@"; do
  command -v "${need%%:*}" >/dev/null || missing+=("${need#*:}")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
  echo "installing ${missing[*]} ..."
  export DEBIAN_FRONTEND=noninteractive
  log=$(mktemp)
  # Servers that a package would start by itself stay off: a policy that refuses is put up for the time of the install.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy" && chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 \
    || { tail -20 "$log" >&2; echo "could not install ${missing[*]}" >&2; [ "${CI:-}" = true ] && exit 1; }
  rm -f "$log"
else
  echo "not installed: ${missing[*]}; the tests that need them will be skipped" >&2
fi
