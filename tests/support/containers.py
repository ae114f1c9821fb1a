"""Containers for tests: images built by the script of `make image`, run by podman as Kubernetes would run them.

Without the tools, or without root, a reason to skip.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
NOBODY: Final = 10001
# What Debian's podman needs on a host with cgroups of both versions and with hard limits; see deploy/image/build.sh.
SETTINGS: Final = """
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
"""


def require_containers() -> None:
    """Skip the test where images cannot be built and run."""
    missing = [tool for tool in ("buildah", "podman", "runc", "mmdebstrap") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (on Debian 12: apt-get install {' '.join(missing)})")
    if os.geteuid() != 0:
        pytest.skip("folders for another user are made by root only")


def build_images(services: Sequence[str]) -> None:
    """Builds the images of these services. Fails with the script's last words."""
    command = ["bash", str(ROOT / "deploy" / "image" / "build.sh"), *services]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.splitlines()[-len(services) :] == [f"built lichtbuch-{service}" for service in services]


class Podman:
    """podman with settings of its own."""

    def __init__(self, folder: Path) -> None:
        settings = folder / "containers.conf"
        settings.write_text(SETTINGS, encoding="utf-8")
        self._environment = os.environ | {"CONTAINERS_CONF": str(settings)}

    def __call__(self, *arguments: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs podman. Fails where it does, unless that is asked for."""
        done = subprocess.run(
            ["podman", *arguments], env=self._environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert not ok or done.returncode == 0, f"podman {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done

    def image(self, service: str) -> dict[str, Any]:
        """What there is to know about an image."""
        found: dict[str, Any] = json.loads(self("image", "inspect", f"localhost/lichtbuch-{service}").stdout)[0]
        return found

    @contextmanager
    def running(self, service: str, data: Path, environment: Mapping[str, str], *arguments: str) -> Iterator[Container]:
        """A container that may write to its data folder and nowhere else."""
        data.mkdir()
        os.chown(data, NOBODY, NOBODY)
        options = ["--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges"]
        options += ["--network=host", f"--volume={data}:/var/lib/lichtbuch"]
        options += [f"--env={name}={value}" for name, value in environment.items()]
        started = self("run", "--detach", *options, f"localhost/lichtbuch-{service}", *arguments)
        container = Container(self, started.stdout.strip())
        try:
            yield container
        finally:
            self("rm", "--force", "--time", "0", container.id)


@dataclass(frozen=True)
class Container:
    """A container that runs."""

    podman: Podman
    id: str

    def shell(self, command: str) -> str:
        """What a shell inside prints, errors included."""
        done = self.podman("exec", self.id, "/bin/sh", "-c", command, ok=False)
        return done.stdout + done.stderr

    def logs(self) -> str:
        """What the service has printed."""
        done = self.podman("logs", self.id)
        return done.stdout + done.stderr

    def is_running(self) -> bool:
        """Whether its first process is still there."""
        return self.podman("inspect", "--format", "{{.State.Running}}", self.id).stdout.strip() == "true"

    def stop(self) -> int:
        """Ends it as Kubernetes does, with SIGTERM. Its exit code."""
        self.podman("stop", "--time", "30", self.id)
        return int(self.podman("inspect", "--format", "{{.State.ExitCode}}", self.id).stdout)

    def changed_files(self) -> list[str]:
        """Files of the image that are not as they were; what podman itself puts into /etc does not count."""
        lines = self.podman("diff", self.id).stdout.splitlines()
        return [line for line in lines if line.split(maxsplit=1)[1].split("/")[1] != "etc"]
