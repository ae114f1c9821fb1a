"""Builds Lichtbuch's own wheel from a copy of what git knows: nothing stale gets in, nothing is left behind.

    python tools/wheel.py FOLDER

setuptools builds in place and keeps modules that have long been deleted in build/; a copy has no such memory.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def sources() -> list[Path]:
    """Every file that git tracks or would, relative to the root."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    return [Path(name) for name in done.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def build(folder: Path) -> Path:
    """The wheel, built into `folder` without asking a registry: setuptools is in the development environment."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "lichtbuch"
        for source in sources():
            (copy / source.parent).mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / source, copy / source)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--no-build-isolation", "--no-index", "--wheel-dir", str(folder), "."]
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"the wheel cannot be built: {done.stderr.strip()}")
    return next(folder.glob("lichtbuch-*.whl"))


def main() -> None:
    """Build it and say where it is."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python tools/wheel.py FOLDER")
    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    print(build(folder))


if __name__ == "__main__":
    main()
