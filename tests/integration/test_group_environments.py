"""Each group's own environment, made from its lock file alone, runs its program: what an image will hold is enough.

The environments are made as for a user: wheels by hash from the package registry, and Lichtbuch's own wheel.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tools import wheel
from tools.locks import GROUPS

ROOT: Final = Path(__file__).resolve().parents[2]
UV: Final = Path(sys.executable).parent / "uv"
PACKAGES: Final = ("domain", "fieldbus", "servicekit", "services", "cli", "simulator")

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

# Imports every module of a package that is no migration: those run inside Alembic only.
IMPORT_ALL: Final = """
import importlib, pkgutil, sys
for package in sys.argv[1:]:
    found = importlib.import_module(package)
    for module in pkgutil.walk_packages(getattr(found, "__path__", []), f"{package}."):
        if ".migrations." not in module.name and not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
print(len(sys.modules))
"""


@dataclass(frozen=True)
class Environment:
    """A virtual environment of one group."""

    group: str
    folder: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a program of the environment, far from the work tree and with no settings."""
        program = self.folder / "bin" / arguments[0]
        return subprocess.run(
            [program, *arguments[1:]],
            cwd=self.folder, env={"PATH": "/usr/bin:/bin", "HOME": str(self.folder)},
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip


@pytest.fixture(scope="module")
def own_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lichtbuch's wheel."""
    return wheel.build(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module", params=GROUPS)
def environment(
    request: pytest.FixtureRequest, own_wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    """The environment of a group; a failure to make it names what uv said."""
    made = Environment(request.param, tmp_path_factory.mktemp(request.param) / "venv")
    python = made.folder / "bin" / "python"
    lock = ROOT / "requirements" / f"{made.group}.lock"
    steps: list[list[str | Path]] = [
        ["venv", "--quiet", "--no-project", "--python", sys.executable, made.folder],
        ["pip", "sync", "--quiet", "--python", python, "--require-hashes", lock],
        ["pip", "install", "--quiet", "--python", python, "--no-deps", "--no-index", own_wheel],
        ["pip", "check", "--quiet", "--python", python],
    ]
    for arguments in steps:
        # From a folder of its own: uv must not take the work tree for the project.
        done = subprocess.run(
            [UV, *arguments], cwd=made.folder.parent, capture_output=True, text=True, check=False, timeout=600
        )
        assert done.returncode == 0, f"uv {arguments[0]} {arguments[1]}: {done.stderr}"
    return made


def test_the_program_of_the_group_starts(environment: Environment) -> None:
    if environment.group == "cli":
        done = environment.run("lichtbuch", "--help")
        assert (done.returncode, "ledger" in done.stdout) == (0, True), done.stderr
    elif environment.group == "simulator":
        done = environment.run("python", "-m", "simulator", "--help")
        assert (done.returncode, "--luminaires" in done.stdout) == (0, True), done.stderr
    else:
        # Settings are refused after everything has been imported, and by name.
        done = environment.run(
            "python", "-c",
            "import os, runpy; os.environ['LICHTBUCH_CLOCK_SPEED'] = 'fast';"
            f" runpy.run_module('services.{environment.group}', run_name='__main__')",
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        assert "LICHTBUCH_CLOCK_SPEED=fast" in done.stderr


def test_every_module_of_the_group_can_be_imported(environment: Environment) -> None:
    packages = {"cli": ["cli.main"], "simulator": ["simulator"]}
    done = environment.run(
        "python", "-c", IMPORT_ALL, *packages.get(environment.group, [f"services.{environment.group}"])
    )
    assert done.returncode == 0, done.stderr


def test_a_service_with_a_database_finds_its_migrations(environment: Environment) -> None:
    if environment.group in ("admin", "simulator", "cli"):
        done = environment.run("python", "-c", "import sqlalchemy")
        assert "ModuleNotFoundError" in done.stderr
        return
    done = environment.run("python", "-m", "servicekit.migrate", environment.group)
    assert (done.returncode, done.stdout) == (0, f"{environment.group}: the schema is up to date\n"), done.stderr


def test_the_wheel_holds_all_that_the_packages_read(own_wheel: Path) -> None:
    kept = set(zipfile.ZipFile(own_wheel).namelist())
    wanted = {str(path) for path in wheel.sources() if path.parts[0] in PACKAGES and path.suffix != ".md"}
    assert wanted <= kept
