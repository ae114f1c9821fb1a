"""Commands that make something, and whose first try is lost: the further one says by its id that it is the same."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from typer.testing import CliRunner

from cli.main import app
from cli.session import ADDRESSES
from lichtbuch.registry.v1 import registry_pb2

PROFILE = """\
[[points]]
anchor = "sunset"
level = 100

[[points]]
anchor = "sunrise"
level = 0
"""


class Forgetful(grpc.GenericRpcHandler):
    """Every service. Answers anything, but loses its first answer to what makes something; notes the requests' ids."""

    def __init__(self) -> None:
        self.ids: dict[str, list[str]] = defaultdict(list)

    def service(self, handler_call_details: Any) -> Any:
        """A handler by the contract's types."""
        service, _, name = handler_call_details.method.removeprefix("/").rpartition("/")
        method = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
        made = message_factory.GetMessageClass(method.output_type)

        async def answer(request: Any, context: Any) -> Any:
            if name == "GetMunicipality":
                return registry_pb2.Municipality(name=request.name, time_zone="Europe/Berlin")
            if name in ("GetProfile", "UpdateGroup"):
                await context.abort(grpc.StatusCode.NOT_FOUND, "not there yet")
            if not name.startswith(("Get", "List", "Query")):
                self.ids[name].append(request.request_id)
                if len(self.ids[name]) % 2:
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "the line broke")
            return made()

        return grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=message_factory.GetMessageClass(method.input_type).FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )


@pytest.fixture
async def services(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Forgetful]:
    forgetful = Forgetful()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((forgetful,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    for name in ADDRESSES:
        monkeypatch.setenv(f"LICHTBUCH_{name.upper()}_ADDRESS", f"127.0.0.1:{port}")
    monkeypatch.setenv("LICHTBUCH_TOKEN", "anybody")
    monkeypatch.setenv("LICHTBUCH_MUNICIPALITY", "bad-hersfeld")
    yield forgetful
    await server.stop(0)


COMMANDS = [
    ("CreateLockout", "lockout", "set", "F-1", "--reason", "work on the mast"),
    ("CreateOverride", "level", "set", "40", "group:market", "--for", "2h", "--reason", "market"),
    ("CreateSensor", "sensor", "add", "S-1", "--kind", "traffic"),
    ("CreateGroup", "group", "rule", "market", "--street", "Markt"),
    ("ReportFault", "fault", "report", "L-1", "--text", "dark"),
    ("RecordGearSwap", "lamp", "swap", "L-1", "--reason", "storm"),
    ("ProtectLuminaires", "lamp", "protect", "--lamp", "L-1"),
    ("CreateProfile", "profile", "put", "night.toml"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=[command[0] for command in COMMANDS])
async def test_a_command_that_is_tried_again_makes_one_thing(
    services: Forgetful, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "night.toml").write_text(PROFILE)
    method, *words = command
    for _ in range(2):  # the same command again is meant as another one
        result = await asyncio.to_thread(CliRunner().invoke, app, words)
        assert result.exit_code == 0, (result.exception, result.output)
    first, again, second, once_more = services.ids[method]
    assert first == again
    assert second == once_more
    assert len({"", first, second}) == 3
