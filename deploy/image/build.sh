#!/usr/bin/env bash
# Builds the images of the services named, "lichtbuch-SERVICE", with buildah or podman. The base image is bootstrapped
# from Debian's packages, for no container registry is asked.
#   bash deploy/image/build.sh registry lighting ...
set -euo pipefail
cd "$(dirname "$0")/../.."
tool=$(command -v buildah || command -v podman) || { echo "building images needs buildah or podman" >&2; exit 1; }
runtime=${RUNTIME:-runc}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

if ! "$tool" images --quiet lichtbuch-base 2>/dev/null | grep -q .; then
  command -v mmdebstrap >/dev/null || { echo "the base image needs mmdebstrap" >&2; exit 1; }
  mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$scratch/base.tar"
  mkdir "$scratch/base"
  printf 'FROM scratch\nADD base.tar /\n' > "$scratch/base.containerfile"
  "$tool" --runtime "$runtime" build --quiet --file "$scratch/base.containerfile" --tag lichtbuch-base "$scratch" >/dev/null
fi

for service in "$@"; do
  rm -rf "$scratch/context" && mkdir -p "$scratch/context/wheels"
  # Hashes are checked here; nothing that the lock does not name gets into the image.
  .venv/bin/python -m pip download --quiet --disable-pip-version-check --only-binary :all: --require-hashes \
    --dest "$scratch/context/wheels" --requirement "requirements/$service.lock"
  .venv/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
    --wheel-dir "$scratch/context/wheels" .
  "$tool" --runtime "$runtime" build --quiet --file deploy/image/Containerfile \
    --build-arg SERVICE="$service" --tag "lichtbuch-$service" "$scratch/context" >/dev/null
  echo "built lichtbuch-$service"
done
