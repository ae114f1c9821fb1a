"""Locks every dependency group with hashes, or checks that the locks agree with pyproject.toml.

    python tools/locks.py [--check]

requirements/dev.lock is resolved first; every other lock of ours takes its versions from there, so that what is tested
is what an image holds. No lock names a download address or a registry.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "requirements"
GROUPS = ("registry", "lighting", "scheduler", "metering", "ledger", "admin", "simulator", "cli")
# Environments that nothing of ours runs in: products of other makes, to test and measure against. They keep their own
# versions.
APART = ("peers", "bench-gateway")


def compile_lock(arguments: list[str], output: Path) -> None:
    """Resolve with uv into `output`, keeping the pins that are there already."""
    command = [
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--python-version",
        "3.11",
        "--generate-hashes",
        "--no-emit-index-url",
    ]
    command += ["--custom-compile-command", "make lock", *arguments, "--output-file", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{output.name}: {done.stderr.strip()}")


def lock_all(folder: Path) -> None:
    """Write every lock file into `folder`."""
    dev = folder / "dev.lock"
    compile_lock(["--extra", "dev", "pyproject.toml"], dev)
    compile_lock(["--constraints", str(dev), "--no-annotate", "requirements/bootstrap.in"], folder / "bootstrap.lock")
    for apart in APART:
        compile_lock(["--no-annotate", f"requirements/{apart}.in"], folder / f"{apart}.lock")
    for group in GROUPS:
        compile_lock(
            ["--constraints", str(dev), "--no-annotate", "--extra", group, "pyproject.toml"], folder / f"{group}.lock"
        )


def main() -> None:
    """Lock in place, or with --check into a scratch folder that starts as a copy and must stay equal."""
    if "--check" not in sys.argv:
        lock_all(LOCKS)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for lock in LOCKS.glob("*.lock"):
            shutil.copy(lock, folder)
        lock_all(folder)
        stale = sorted(
            lock.name
            for lock in folder.glob("*.lock")
            if not (LOCKS / lock.name).exists() or lock.read_text() != (LOCKS / lock.name).read_text()
        )
    if stale:
        raise SystemExit(f"locks differ from pyproject.toml, run `make lock`: {', '.join(stale)}")
    print("locks agree with pyproject.toml")


if __name__ == "__main__":
    main()
