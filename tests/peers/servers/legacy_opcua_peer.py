"""The legacy `opcua` package (FreeOpcUa) as a server of lamp objects. Runs in the peers' environment."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from opcua import Server, ua

from tests.peers.servers.control import obey

NAMESPACE = "urn:lichtbuch:lamp"
VARIABLES: dict[str, tuple[Any, ua.VariantType, bool]] = {
    "Level": (50.0, ua.VariantType.Double, True),
    "ActualLevel": (50.0, ua.VariantType.Double, False),
    "LampFailure": (False, ua.VariantType.Boolean, False),
    "GearFailure": (False, ua.VariantType.Boolean, False),
    "Power": (12.5, ua.VariantType.Double, False),
    "Energy": (4321, ua.VariantType.UInt64, False),
    "BurningTime": (7200, ua.VariantType.UInt64, False),
    "PowerOnLevel": (100.0, ua.VariantType.Double, True),
    "SystemFailureLevel": (-1.0, ua.VariantType.Double, True),
}

running: list[Server] = []
nodes: dict[tuple[int, str], Any] = {}


def start(port: int, lamps: int) -> None:
    server = Server()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/lamps")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    server.set_build_info("urn:acme:lamps", "ACME", "Lamps", "0.98", "1", datetime(2021, 3, 1))
    server.register_namespace("urn:somebody:else")
    index = server.register_namespace(NAMESPACE)
    for lamp in range(lamps):
        folder = server.get_objects_node().add_folder(f"ns={index};s=Lamp.{lamp}", f"{index}:Lamp.{lamp}")
        for name, (value, kind, writable) in VARIABLES.items():
            node = folder.add_variable(f"ns={index};s=Lamp.{lamp}.{name}", f"{index}:{name}", value, kind)
            if writable:
                node.set_writable()
            nodes[lamp, name] = node
    server.start()
    running.append(server)


def stop() -> None:
    while running:
        running.pop().stop()


def put(lamp: int, variable: str, value: Any, status: int, source_time_ms: int) -> None:
    _, kind, _ = VARIABLES[variable]
    data = ua.DataValue(ua.Variant(float(value) if kind == ua.VariantType.Double else value, kind))
    data.StatusCode = ua.StatusCode(status)
    data.SourceTimestamp = datetime.fromtimestamp(source_time_ms / 1000, UTC).replace(tzinfo=None)
    nodes[lamp, variable].set_attribute(ua.AttributeIds.Value, data)


def get(lamp: int, variable: str) -> Any:
    return nodes[lamp, variable].get_value()


if __name__ == "__main__":
    obey({"start": start, "stop": stop, "put": put, "get": get})
