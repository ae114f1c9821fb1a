"""OPC UA servers behind mobile radio: a session takes many round trips, and the link's patience is enough for each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from asyncua import ua

from fieldbus.budget import MobileLink
from fieldbus.client import Fieldbus
from fieldbus.opcua.device import OpcUaDevice
from fieldbus.opcua.security import OpcUaSecurity, SecurityPolicy
from fieldbus.security import FieldSecurity
from fieldbus.values import PointAddress
from tests.fieldbus.opcua_servers import CLIENT_URI, SERVER_URI, Plant, make_pair
from tests.fieldbus.servers import NOON

POWER = PointAddress("lamp_power", 0)


class Relay:
    """Passes bytes on and counts the round trips: connections, and turns from hearing to speaking."""

    def __init__(self, port: int) -> None:
        self.round_trips = 0
        self._to = port
        self._speaks = ""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.round_trips += 1
        self._speaks = "server"  # with its SYN-ACK
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        await asyncio.gather(self._pass(reader, far_writer, "client"), self._pass(far_reader, writer, "server"))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, who: str) -> None:
        try:
            while data := await reader.read(65_536):
                self.round_trips += who == "client" and self._speaks == "server"
                self._speaks = who
                writer.write(data)
        except OSError:
            pass
        writer.close()


async def test_a_secured_session_is_made_though_each_of_its_round_trips_takes_all_the_patience(tmp_path: Path) -> None:
    ours = make_pair(tmp_path, "client", uri=CLIENT_URI)
    theirs = make_pair(tmp_path, "server", uri=SERVER_URI)
    policies = [ua.SecurityPolicyType.NoSecurity, ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt]
    plant = Plant(pair=theirs, policies=policies)
    await plant.start()
    relay = Relay(plant.port)
    try:
        async with relay.listening() as port:
            settings = OpcUaSecurity(
                policy=SecurityPolicy.BASIC256_SHA256,
                certificate=ours.certificate,
                key=ours.key,
                trusted=theirs.certificate,
            )
            bus = Fieldbus(now=lambda: NOON, security=FieldSecurity(opcua={f"127.0.0.1:{port}": settings}))
            lamp = bus.open(f"opc.tcp://127.0.0.1:{port}/plant", "opcua-lamp", link=MobileLink(round_trip_s=2.0))
            assert isinstance(lamp, OpcUaDevice)
            batch = await lamp.read([POWER])
            assert batch.complete, lamp.health().last_error
            limits = lamp._link.limits
            to_connect = relay.round_trips - 2  # the last one was the reading, and nobody waits for a farewell's answer
            await bus.close()
    finally:
        await plant.stop()
    assert to_connect >= 9, "asked what it offers, then let in"
    assert to_connect * limits.request_timeout_s <= limits.connect_timeout_s
