"""The web UI's settings, and what it may not load."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from services.admin.settings import AdminSettings

ROOT = Path(__file__).resolve().parents[3]
NOT_IN_ITS_IMAGE = ("sqlalchemy", "sqlmodel", "alembic", "psycopg", "pymodbus", "asyncua")


def run(arguments: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs Python with this tree's sources."""
    path = f"{ROOT}{os.pathsep}{ROOT / 'proto' / 'gen'}"
    clean = {key: value for key, value in os.environ.items() if not key.startswith("LICHTBUCH_")}
    return subprocess.run(
        [sys.executable, *arguments],
        env=clean | {"PYTHONPATH": path} | environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_defaults_serve_one_machine() -> None:
    settings = AdminSettings()
    assert settings.admin_listen == "127.0.0.1:8080"
    assert settings.admin_client_id == "lichtbuch-admin"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"admin_listen": "0.0.0.0:8080"}, "LICHTBUCH_PUBLIC_URL is needed"),
        ({"admin_listen": "8080"}, "host:port is needed"),
        ({"public_url": "http://licht.example.org"}, "https is needed"),
        ({"public_url": "https://licht.example.org/path"}, "without a path"),
        ({"public_url": "licht.example.org"}, "an address"),
        ({"session_secret": "short"}, "at least 32 characters"),
        ({"session_max_hours": 0}, "greater than 0"),
        ({"max_sessions": 0}, "greater than or equal to 1"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_reason(values: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        AdminSettings(**values)  # type: ignore[arg-type]


def test_behind_tls_it_may_listen_everywhere() -> None:
    settings = AdminSettings(admin_listen="0.0.0.0:8080", public_url="https://licht.example.org/")
    assert settings.public_url == "https://licht.example.org"


def test_the_process_says_which_setting_is_wrong_and_ends_with_2(tmp_path: Path) -> None:
    done = run(
        ["-m", "services.admin"], tmp_path, LICHTBUCH_SESSION_SECRET="too-short", LICHTBUCH_OIDC_ISSUER="ftp://x"
    )
    assert done.returncode == 2
    assert "LICHTBUCH_SESSION_SECRET=***" in done.stderr
    assert "LICHTBUCH_OIDC_ISSUER=ftp://x" in done.stderr
    assert "too-short" not in done.stderr


def test_it_loads_nothing_that_its_image_does_not_hold_and_leaves_no_files(tmp_path: Path) -> None:
    code = "import sys, json, services.admin.app, services.admin.__main__; print(json.dumps(sorted(sys.modules)))"
    done = run(["-c", code], tmp_path)
    assert done.returncode == 0, done.stderr
    loaded = {module.partition(".")[0] for module in json.loads(done.stdout)}
    assert loaded.isdisjoint(NOT_IN_ITS_IMAGE)
    assert list(tmp_path.iterdir()) == []
