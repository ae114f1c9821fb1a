"""What the web UI's tests share: the real issuer as a process, a small town's services, the application in-process."""

import gc
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from services.admin.pages import live_page
from tests.services.admin.application import Application, running_application
from tests.services.admin.town_services import Town, TownServices, small_town

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session", autouse=True)
def _light_collections() -> Iterator[None]:
    """NiceGUI's reset collects garbage twice a test: what was imported before need not be looked through each time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _quick_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are brought up to date more often than once a second: tests wait for what they show."""
    monkeypatch.setattr(live_page, "TICK_S", 0.1)


@pytest.fixture(scope="session")
def issuer_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The demonstration issuer as a process of its own."""
    folder = tmp_path_factory.mktemp("issuer")
    environment = os.environ | {
        "LICHTBUCH_ISSUER_PORT": "0",
        "LICHTBUCH_ISSUER_DATA_DIR": str(folder),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto' / 'gen'}",
    }
    command = [sys.executable, "-m", "services.registry.issuer", "--demonstration"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert " at http://" in line, line
        yield line.rsplit(" ", 1)[-1].strip()
        process.terminate()


@pytest.fixture
def town() -> Town:
    """A small town; change it before the services start, or while they run."""
    return small_town()


@pytest.fixture
async def services(town: Town, issuer_url: str) -> AsyncIterator[TownServices]:
    """The town's services."""
    async with TownServices(town, issuer_url) as services:
        yield services


@pytest.fixture
async def application(services: TownServices, issuer_url: str) -> AsyncIterator[Application]:
    """The web UI in this process, without an HTTP server."""
    async with running_application(services, issuer_url) as application:
        yield application
