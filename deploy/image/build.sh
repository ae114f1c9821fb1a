#!/usr/bin/env bash
# Builds the images of the services named, "lichtbuch-SERVICE", with buildah or podman. The base image is
# bootstrapped from Debian's packages, for no container registry is asked; it is made again when its recipe changes, or
# with REFRESH=1, which takes Debian's latest security updates.
#   bash deploy/image/build.sh registry lighting ...
set -euo pipefail
cd "$(dirname "$0")/../.."
python=$PWD/.venv/bin/python
packages="on Debian 12: apt-get install --no-install-recommends buildah runc uidmap mmdebstrap"
tool=$(command -v buildah || command -v podman) || { echo "building images needs buildah or podman; $packages" >&2; exit 1; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Debian's crun fails where cgroups of both versions are mounted, and limits above the hard ones (podman lowers its own
# first) fail everywhere. Both are settings of the tools, given here for this run only.
if [ -z "${CONTAINERS_CONF:-}" ]; then
  at_most() { [ "$1" != unlimited ] && [ "$1" -lt "$2" ] && echo "$1" || echo "$2"; }
  files=$(at_most "$(ulimit -Hn)" 20000) processes=$(at_most "$(ulimit -Hu)" 30000)
  runtime=$(basename "$(command -v runc || command -v crun || echo runc)")
  export CONTAINERS_CONF=$scratch/containers.conf
  printf '[containers]\ndefault_ulimits = ["nofile=%s:%s", "nproc=%s:%s"]\n[engine]\nruntime = "%s"\n' \
    "$files" "$files" "$processes" "$processes" "$runtime" > "$CONTAINERS_CONF"
fi

build() { # TAG FOLDER ARGUMENT...: the files of a folder under a tag, without any network
  local tag=$1 folder=$2
  shift 2
  "$tool" build --network none --tag "$tag" "$@" "$folder" > "$scratch/log" 2>&1 \
    || { tail -40 "$scratch/log" >&2; echo "$tag cannot be built" >&2; exit 1; }
}

# usr-is-merged keeps usrmerge and with it all of Perl out; nobody reads manuals in a container, but licences stay.
bootstrap=(mmdebstrap --quiet --variant=minbase --hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr
  --include=usr-is-merged,python3,python3-venv,ca-certificates
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*'
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright'
  bookworm)
base=lichtbuch-base:$(sha256sum <<< "${bootstrap[*]}" | cut -c1-12)
if [ -n "${REFRESH:-}" ] || ! "$tool" inspect --type image "$base" >/dev/null 2>&1; then
  command -v mmdebstrap >/dev/null || { echo "the base image needs mmdebstrap; $packages" >&2; exit 1; }
  echo "making the base image ..."
  mkdir "$scratch/base"
  "${bootstrap[@]}" "$scratch/base/base.tar" 2>"$scratch/log" || { tail -40 "$scratch/log" >&2; exit 1; }
  printf 'FROM scratch\nADD base.tar /\n' > "$scratch/base/Containerfile"
  build "$base" "$scratch/base"
fi

"$python" tools/wheel.py "$scratch/own" >/dev/null
for service in "$@"; do
  case $service in
    simulator) module=simulator ;;
    cli) module=cli.main ;;
    *) module=services.$service ;;
  esac
  context=$scratch/context
  rm -rf "$context" && mkdir -p "$context"
  # Hashes are checked here; nothing that the lock does not name gets into the image.
  "$python" -m pip download -qq --disable-pip-version-check --only-binary :all: --require-hashes --no-deps \
    --dest "$context/wheels" --requirement "requirements/$service.lock"
  cp "$scratch"/own/*.whl "$context/wheels/"
  build "lichtbuch-$service" "$context" --file deploy/image/Containerfile \
    --build-arg BASE="localhost/$base" --build-arg SERVICE="$service" --build-arg MODULE="$module"
  echo "built lichtbuch-$service"
done
