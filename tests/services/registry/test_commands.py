"""lichtbuch endpoint, as people type it, against a running registry: how a gateway comes into control, and by whom."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from cli.commands import endpoints
from cli.main import app
from domain.errors import InvalidInput, LichtbuchError, NotFound, NotPermitted
from lichtbuch.registry.v1 import registry_pb2 as pb
from tests.services.registry.helpers import ON_ONE_DATABASE, ROOT, Registry

pytestmark = ON_ONE_DATABASE

TOWN = "municipalities/bad-hersfeld"
URL = "modbus+tcp://10.0.0.7?unit=1"
ADD = ("add", "gw-7", "--url", URL, "--profile", "arlight-dali")


class Town:
    """A session as commands use it, in the one municipality of the tests."""

    def __init__(self, stub: Any) -> None:
        self.registry = stub

    async def parent(self) -> str:
        """The municipality."""
        return TOWN

    async def zone(self) -> ZoneInfo:
        """Its time zone."""
        return ZoneInfo("Europe/Berlin")

    async def name(self, collection: str, given: str) -> str:
        """A whole name."""
        return f"{TOWN}/{collection}/{given}"


class Terminal:
    """Types commands. They run in a thread of their own, as `online` makes a loop of its own otherwise."""

    def __init__(self, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
        self._registry, self._loop, self._monkeypatch = registry, asyncio.get_running_loop(), monkeypatch
        self.log_in("u-ada")

    def log_in(self, subject: str) -> None:
        """Another person sits down."""
        town = Town(self._registry.as_(subject))

        def online(ask: Any, _municipality: str) -> Any:
            return asyncio.run_coroutine_threadsafe(ask(town), self._loop).result(30)

        self._monkeypatch.setattr(endpoints, "online", online)

    async def types(self, *words: str) -> Any:
        """The document that a command answers. Raises what the command ends with."""
        result = await asyncio.to_thread(CliRunner().invoke, app, ["endpoint", *words, "--json"])
        if result.exception is not None:
            raise result.exception
        # The registry runs in this process, too, and writes its log before.
        return json.loads("\n".join(line for line in result.stdout.splitlines() if not line.startswith("20")))


@pytest.fixture
async def terminal(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A planner's terminal, in a town without endpoints."""
    await registry.town("bad-hersfeld")
    await registry.bind("u-ada", "planner", "bad-hersfeld")
    return Terminal(registry, monkeypatch)


async def test_a_gateway_comes_into_control_step_by_step_and_its_release_bears_a_name(
    registry: Registry, terminal: Terminal
) -> None:
    made = await terminal.types(*ADD, "--name", "Markt")
    assert (made["state"], made["owner"], made["released_by"]) == ("planned", "lighting", None)
    with pytest.raises(LichtbuchError, match="from planned the next state is observed"):
        await terminal.types("move", "gw-7", "in-control", "--reason", "in a hurry")
    for state in ("observed", "tested", "in-control"):
        moved = await terminal.types("move", "gw-7", state, "--reason", f"walked the street, {state}")
        assert moved["state"] == state.replace("-", " ")
    assert moved["released_by"] == "u-ada"
    assert moved["released_at"]
    trail = await registry.audit_trail(ROOT, TOWN)
    assert ("u-ada", "walked the street, in-control") in [(record.actor, record.reason) for record in trail]
    listed = await terminal.types("list", "--state", "in-control", "--owner", "lighting")
    assert [(row["endpoint"], row["name"], row["released_by"]) for row in listed] == [("gw-7", "Markt", "u-ada")]
    assert await terminal.types("list", "--state", "tested") == []
    back = await terminal.types("move", "gw-7", "observed", "--reason", "lamps are swapped")
    assert (back["state"], back["released_by"]) == ("observed", None)


async def test_what_is_changed_is_what_was_said_and_another_address_ends_control(
    registry: Registry, terminal: Terminal
) -> None:
    await terminal.types(*ADD, "--round-trip-ms", "2000")
    for state in ("observed", "tested", "in-control"):
        await terminal.types("move", "gw-7", state, "--reason", "x")
    assert (await terminal.types("change", "gw-7", "--monthly-bytes", "20000000"))["state"] == "in control"
    link = (await registry.root.GetEndpoint(pb.GetEndpointRequest(name=f"{TOWN}/endpoints/gw-7"))).link
    assert (link.round_trip_ms, link.monthly_bytes) == (2000, 20_000_000)
    changed = await terminal.types("change", "gw-7", "--url", URL.replace("0.7", "0.8"))
    assert (changed["state"], changed["released_by"], "10.0.0.8" in changed["url"]) == ("observed", None, True)


@pytest.mark.parametrize(
    ("words", "error", "reason"),
    [
        (("move", "gw-7", "on", "--reason", "x"), InvalidInput, "'on' is none of planned, observed, tested, in-con"),
        (("add", "gw-7", "--url", "http://10.0.0.7", "--profile", "arlight-dali"), InvalidInput, "endpoint.url"),
        (("list", "--owner", "nobody"), InvalidInput, "'nobody' is none of lighting, metering, building"),
        (("change", "gw-7"), InvalidInput, "say what: --url"),
        (("move", "gw-8", "observed", "--reason", "x"), NotFound, "endpoints/gw-8"),
        (("move", "gw-8", "observed", "--reason", ""), InvalidInput, "reason"),
    ],
)
async def test_wrong_words_are_named(
    terminal: Terminal, words: tuple[str, ...], error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        await terminal.types(*words)


async def test_who_only_looks_on_releases_nothing(registry: Registry, terminal: Terminal) -> None:
    await terminal.types(*ADD)
    await registry.bind("u-bob", "operator", "bad-hersfeld")
    terminal.log_in("u-bob")
    with pytest.raises(NotPermitted, match=r"registry\.endpoints\.transition"):
        await terminal.types("move", "gw-7", "observed", "--reason", "x")
    assert [row["state"] for row in await terminal.types("list")] == ["planned"]
