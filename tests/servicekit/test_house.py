"""What holds for servicekit as a whole: what it imports, and that no test of storage is skipped silently."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "proto" / "gen")])}


def test_what_a_plain_client_uses_needs_no_database_driver():
    code = (
        "import sys; import servicekit.client, servicekit.settings, servicekit.convert, servicekit.context, "
        "servicekit.clock, servicekit.logs, servicekit.metrics, servicekit.tokens, servicekit.auth, servicekit.access, "
        "servicekit.grpc_errors, servicekit.http_status, servicekit.health; "
        "print([name for name in ('sqlalchemy', 'sqlmodel', 'alembic', 'psycopg') if name in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize(("ci", "outcome"), [("true", "1 error"), ("", "1 skipped")])
def test_a_postgresql_that_cannot_start_fails_in_ci_and_is_named_elsewhere(ci, outcome, tmp_path):
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\n")
    (tmp_path / "test_storage.py").write_text("def test_storage(postgres_url):\n    pass\n")
    environment = {
        **ENVIRONMENT,
        "CI": ci,
        "LICHTBUCH_TEST_POSTGRES_URL": "postgresql://127.0.0.1:1/nothing",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    environment.pop("PYTEST_XDIST_WORKER", None)
    options = ["-q", "-rs", "-c", os.devnull, "--rootdir=.", "--basetemp=inner", "-p", "no:cacheprovider"]
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "test_storage.py"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome in answer.stdout, answer.stdout
    assert "PostgreSQL cannot be started" in answer.stdout
