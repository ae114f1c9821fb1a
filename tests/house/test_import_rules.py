"""The import rules hold, and a planted violation of each is caught."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("domain", "fieldbus", "servicekit", "services", "cli", "simulator")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{folder / 'proto' / 'gen'}"}
    command = [
        str(Path(sys.executable).with_name("lint-imports")),
        "--no-cache",
        "--config",
        str(folder / "pyproject.toml"),
    ]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, so that a violation can be planted without touching anything."""
    folder = tmp_path_factory.mktemp("house")
    for part in PARTS:
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "proto" / "gen", folder / "proto" / "gen", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_the_house_keeps_its_rules(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "statement", "rule"),
    [
        ("domain/planted.py", "import servicekit", "Arrows point one way"),
        ("domain/planted.py", "import sqlalchemy", "The domain knows neither gRPC, SQL, nor the clock"),
        ("domain/planted.py", "import time", "The domain knows neither gRPC, SQL, nor the clock"),
        ("fieldbus/planted.py", "import services", "Arrows point one way"),
        ("fieldbus/planted.py", "import grpc", "The field layer knows no service, contract or database"),
        ("services/scheduler/planted.py", "import fieldbus", "never touch the field"),
        ("services/ledger/planted.py", "import services.metering.store", "Services never import each other"),
        ("services/lighting/planted.py", "import simulator", "Nothing depends on the simulator"),
        ("services/admin/planted.py", "import sqlmodel", "The web UI is a gRPC client without a database"),
        ("simulator/planted.py", "import servicekit", "The simulator knows the domain and the fieldbus' vocabulary"),
    ],
)
def test_a_planted_violation_is_caught(copy: Path, file: str, statement: str, rule: str) -> None:
    planted = copy / file
    planted.write_text(f'"""Planted."""\n\n{statement}\n', encoding="utf-8")
    try:
        done = lint(copy)
    finally:
        planted.unlink()
    broken = [line for line in done.stdout.splitlines() if "BROKEN" in line]
    assert done.returncode != 0
    assert any(rule in line for line in broken), done.stdout
