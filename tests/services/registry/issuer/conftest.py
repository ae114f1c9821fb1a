"""The demonstration issuer as a client sees it."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.services.registry.issuer.helpers import Issuer, Running


@pytest.fixture
async def issuer(running_issuer: Running) -> AsyncIterator[Issuer]:
    """The issuer a day later: what earlier tests left behind has expired."""
    running_issuer.stopwatch.turn(86_400)
    async with httpx.AsyncClient(base_url=running_issuer.url, timeout=60) as http:
        yield Issuer(running_issuer.url, http, running_issuer.service_clients, running_issuer.stopwatch)
