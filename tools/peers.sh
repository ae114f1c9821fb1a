#!/usr/bin/env bash
# Makes the environments of other makes' servers in .venv-peers: a virtual environment from requirements/peers.lock
# and Node.js packages from tests/peers/package-lock.json. Nothing in them is used by our own code.
set -euo pipefail
cd "$(dirname "$0")/.."
home=.venv-peers
echo "setting up $home ..."
rm -f "$home/.ready"
mkdir -p "$home/node"

test -x "$home/python/bin/python" || .venv/bin/python -m venv "$home/python"
.venv/bin/uv pip sync --quiet --python "$home/python/bin/python" --require-hashes requirements/peers.lock 2>/dev/null \
  || "$home/python/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/peers.lock

command -v node >/dev/null && command -v npm >/dev/null || { echo "node and npm are needed" >&2; exit 1; }
cp tests/peers/package.json tests/peers/package-lock.json tests/peers/.npmrc "$home/node/"
npm --prefix "$home/node" ci --loglevel=error
touch "$home/.ready"
