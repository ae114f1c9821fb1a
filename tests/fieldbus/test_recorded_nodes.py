"""Every shipped OPC UA profile against a server that is built from its record: nodes in, values out, commands in.

A file in frames/ lists the nodes that the server holds (id, type, value, and the status or time of the source where it
matters), the values that reading them must give, and commands with what the nodes hold afterwards. A method of a
record puts its last argument into a node, and refuses with a status where the record says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.server.server import Server
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes

from fieldbus.client import Fieldbus
from fieldbus.profile import Protocol
from tests.fieldbus.recorded import address, check, files, record, writes
from tests.fieldbus.servers import NOON
from tests.support.ports import free_port

Types = {kind.name.lower(): kind for kind in ua.VariantType}


class NodeServer:
    """asyncua's server with the nodes of a record."""

    def __init__(self, content: dict[str, Any]) -> None:
        self._content = content
        self._server = Server()
        self._namespaces: dict[str, int] = {}
        self.url = f"opc.tcp://127.0.0.1:{free_port()}/recorded"

    async def start(self) -> None:
        await self._server.init()
        self._server.set_endpoint(self.url)
        self._server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        # Another namespace first, so that none gets the index that a careless client expects.
        await self._server.register_namespace("urn:somebody:else")
        for entry in self._content["node"]:
            await self._add_variable(entry)
        for entry in self._content.get("method", []):
            await self._add_method(entry)
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop()

    async def value(self, text: str) -> Any:
        return await self._server.get_node(await self._id({"id": text})).read_value()

    async def _id(self, entry: dict[str, Any], key: str = "id") -> ua.NodeId:
        uri = entry.get("namespace", self._content["namespace"])
        if uri not in self._namespaces:
            self._namespaces[uri] = await self._server.register_namespace(uri)
        return ua.NodeId.from_string(f"ns={self._namespaces[uri]};{entry[key]}")

    async def _add_variable(self, entry: dict[str, Any]) -> None:
        kind = Types[entry["type"]]
        node_id = await self._id(entry)
        node = await self._server.nodes.objects.add_variable(
            node_id, entry["id"], ua.Variant(entry["value"], kind), datatype=ua.NodeId(ua.Int32(kind.value))
        )
        status = getattr(StatusCodes, entry.get("status", "Good"))
        value = ua.DataValue(
            ua.Variant(entry["value"], kind), StatusCode=ua.StatusCode(status), SourceTimestamp=entry.get("time", NOON)
        )
        await node.write_attribute(AttributeIds.Value, value)
        if entry.get("writable", False):
            await node.set_writable()

    async def _add_method(self, entry: dict[str, Any]) -> None:
        parent = await self._server.nodes.objects.add_object(await self._id(entry, "object"), entry["object"])
        target = self._server.get_node(await self._id({"id": entry["puts"]}))
        refusal = entry.get("refuses")

        async def called(_parent: ua.NodeId, *arguments: ua.Variant) -> list[ua.Variant] | ua.StatusCode:
            if refusal:
                return ua.StatusCode(getattr(StatusCodes, refusal))
            await target.write_value(ua.Variant(arguments[-1].Value, await target.read_data_type_as_variant_type()))
            return []

        kinds = [Types[name] for name in entry["arguments"]]
        await parent.add_method(await self._id(entry), entry["id"], called, kinds, [])


@pytest.mark.parametrize("path", files(Protocol.OPCUA), ids=lambda path: path.stem)
async def test_recorded_nodes_become_values_and_commands_become_nodes(fieldbus: Fieldbus, path: Path) -> None:
    recorded = record(path)
    server = NodeServer(recorded.content)
    await server.start()
    try:
        device = fieldbus.open(server.url, recorded.content["profile"])
        check(await device.read([address(text) for text in recorded.values]), recorded)
        for command in recorded.commands:
            results = await device.write(writes(command), verify=command.get("verify", False))
            assert {result.outcome.name.lower() for result in results} == {command["outcome"]}, command["writes"]
            for text, expected in command.get("nodes", {}).items():
                assert await server.value(text) == expected, command["writes"]
    finally:
        await server.stop()
