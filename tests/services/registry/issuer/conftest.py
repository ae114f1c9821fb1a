"""A demonstration issuer on a real socket, with a clock that the tests turn."""

import socket
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import uvicorn

from services.registry.issuer.__main__ import issuer_url
from services.registry.issuer.app import Parts, create_app
from services.registry.issuer.clients import load_service_clients
from services.registry.issuer.keys import SigningKey
from tests.services.registry.issuer.helpers import Issuer, Running, Stopwatch, serving


@pytest.fixture(scope="session")
def running_issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One issuer for all tests, in a thread of its own: starting a server costs more than any test here."""
    data_dir = tmp_path_factory.mktemp("issuer")
    listener = socket.create_server(("127.0.0.1", 0))
    stopwatch = Stopwatch()
    clients = load_service_clients("", data_dir)
    url = issuer_url("127.0.0.1", listener.getsockname()[1])
    app = create_app(Parts(url, SigningKey.load(data_dir), clients, monotonic_s=stopwatch.seconds))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    with serving(server, listener):
        yield Running(url, clients, stopwatch)


@pytest.fixture
async def issuer(running_issuer: Running) -> AsyncIterator[Issuer]:
    """The issuer a day later: what earlier tests left behind has expired."""
    running_issuer.stopwatch.turn(86_400)
    async with httpx.AsyncClient(base_url=running_issuer.url) as http:
        yield Issuer(running_issuer.url, http, running_issuer.service_clients, running_issuer.stopwatch)
