"""Servers on loopback for the tests: pymodbus' own, one that misbehaves on demand, and asyncua's own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from asyncua import ua
from asyncua.server.server import Server
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes
from pymodbus.constants import ExcCodes
from pymodbus.pdu.device import ModbusControlBlock, ModbusDeviceIdentification
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from tests.support.ports import free_port
from tests.support.tcp import TcpServer

NOON = datetime(2026, 6, 21, 12, 0, tzinfo=UTC)
TABLES = ("coil", "discrete", "holding", "input")


async def eventually(condition: Callable[[], bool], within_s: float = 15.0) -> None:
    """Wait until a condition holds that nothing announces. TimeoutError if it does not."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - what is waited for gives no event
            await asyncio.sleep(0.01)


class Manual:
    """A clock that only the test moves: domain instants and real seconds."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.instant = NOON

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return self.instant


class PymodbusServer:
    """Units with registers, on pymodbus' server. Requests are recorded as (unit, function, address, count)."""

    def __init__(
        self, units: dict[int, dict[str, dict[int, list[int]]]], identity: tuple[str, str] | None = None
    ) -> None:
        """`units`: unit -> table -> start address -> values. Addresses not given are refused with exception 2."""
        self._units = units
        self._identity = identity
        self.requests: list[tuple[int, int, int, int]] = []
        self.refuse: dict[int, int] = {}  # function code to exception code
        self.port = 0
        self._server: ModbusTcpServer | None = None

    @property
    def url(self) -> str:
        return f"modbus+tcp://127.0.0.1:{self.port}"

    async def start(self, port: int = 0) -> None:
        control = ModbusControlBlock()
        control.Identity.stat_data.clear()
        vendor, product = self._identity or ("ACME", "Gateway")
        identity = ModbusDeviceIdentification(
            info_name={"VendorName": vendor, "ProductCode": product, "MajorMinorRevision": "2.1"}
        )
        devices = [self._device(unit, tables) for unit, tables in self._units.items()]
        self._server = ModbusTcpServer(devices, identity=identity, address=("127.0.0.1", port))
        await self._server.serve_forever(background=True)
        transport: Any = self._server.transport
        self.port = transport.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.shutdown()
            self._server = None

    @property
    def connections(self) -> int:
        """Connections that stand now."""
        assert self._server is not None
        return len(self._server.active_connections)

    def registers(self, unit: int, table: str, address: int, count: int = 1) -> list[int]:
        start, _, values, _ = self._block(unit, table)
        return list(values[address - start : address - start + count])

    def set_registers(self, unit: int, table: str, address: int, values: Iterable[int]) -> None:
        start, _, held, _ = self._block(unit, table)
        for offset, value in enumerate(values):
            held[address - start + offset] = value

    def bit(self, unit: int, table: str, address: int) -> bool:
        start, _, held, _ = self._block(unit, table)
        return bool(held[address // 16 - start] >> (address % 16) & 1)

    def set_bit(self, unit: int, table: str, address: int, value: bool) -> None:
        start, _, held, _ = self._block(unit, table)
        mask = 1 << (address % 16)
        held[address // 16 - start] = held[address // 16 - start] & ~mask | (mask if value else 0)

    def _block(self, unit: int, table: str) -> tuple[int, int, list[int], list[int]]:
        assert self._server is not None
        context: Any = self._server.context
        block: tuple[int, int, list[int], list[int]] = context.devices[unit].block[table[0]]
        return block

    def _device(self, unit: int, tables: dict[str, dict[int, list[int]]]) -> SimDevice:
        async def action(
            function: int, _start: int, address: int, count: int, _registers: list[int], values: Any
        ) -> ExcCodes | None:
            if function in (5, 6) and values is None:
                return None  # pymodbus reads back for the echo; that is no request
            self.requests.append((unit, function, address, count))
            code = self.refuse.get(function)
            return ExcCodes(code) if code else None

        blocks: list[list[SimData]] = []
        for table in TABLES:
            entries = tables.get(table) or {9000: [0]}
            if table in ("coil", "discrete"):
                blocks.append(
                    [
                        SimData(at, values=[bool(v) for v in values], datatype=DataType.BITS)
                        for at, values in entries.items()
                    ]
                )
            else:
                blocks.append(
                    [SimData(at, values=list(values), datatype=DataType.REGISTERS) for at, values in entries.items()]
                )
        return SimDevice(unit, simdata=(blocks[0], blocks[1], blocks[2], blocks[3]), action=action)


Behaviour = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class RawServer(TcpServer):
    """Speaks bytes: each request frame (MBAP header and PDU) goes to `behave`, which answers as it likes."""

    def __init__(self, behave: Behaviour, *, rtu: bool = False) -> None:
        super().__init__()
        self.behave = behave
        self.requests: list[bytes] = []
        self._rtu = rtu

    @property
    def url(self) -> str:
        return f"modbus+{'rtutcp' if self._rtu else 'tcp'}://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            if self._rtu:
                frame = await reader.readexactly(8)
            else:
                header = await reader.readexactly(6)
                frame = header + await reader.readexactly(int.from_bytes(header[4:6], "big"))
            self.requests.append(frame)
            await self.behave(frame, writer)


def answer_frame(request: bytes, pdu: bytes, *, transaction: int | None = None, unit: int | None = None) -> bytes:
    """A frame that answers a request, or deliberately does not."""
    number = request[0:2] if transaction is None else transaction.to_bytes(2, "big")
    return number + b"\0\0" + (len(pdu) + 1).to_bytes(2, "big") + bytes((request[6] if unit is None else unit,)) + pdu


def registers_pdu(request: bytes, value: int) -> bytes:
    """The right answer to a register read: every register holds `value`."""
    count = int.from_bytes(request[10:12], "big")
    return bytes((request[7], 2 * count)) + value.to_bytes(2, "big") * count


LAMP_NAMESPACE = "urn:lichtbuch:lamp"
_LAMP_VARIABLES: tuple[tuple[str, Any, ua.VariantType, bool], ...] = (
    ("Level", 50.0, ua.VariantType.Double, True),
    ("ActualLevel", 50.0, ua.VariantType.Double, False),
    ("LampFailure", False, ua.VariantType.Boolean, False),
    ("GearFailure", False, ua.VariantType.Boolean, False),
    ("Power", 12.5, ua.VariantType.Double, False),
    ("Energy", 4321, ua.VariantType.UInt64, False),
    ("BurningTime", 7200, ua.VariantType.UInt64, False),
    ("PowerOnLevel", 100.0, ua.VariantType.Double, True),
    ("SystemFailureLevel", -1.0, ua.VariantType.Double, True),
)


class LampServer:
    """asyncua's server with the generic lamp objects of the profile opcua-lamp."""

    def __init__(self, lamps: int, product_uri: str = "urn:acme:lamps") -> None:
        self._lamps = lamps
        self._product_uri = product_uri
        self.port = 0
        self.namespace = 0
        self.server: Server | None = None

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}/lamps"

    async def start(self, port: int | None = None) -> None:
        self.port = port or free_port()
        server = Server()
        await server.init()
        server.set_endpoint(self.url)
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        await server.set_build_info(self._product_uri, "ACME", "Lamps", "3.2", "1", NOON)
        # Another namespace first, so that ours does not get the index that a careless client expects.
        await server.register_namespace("urn:somebody:else")
        self.namespace = await server.register_namespace(LAMP_NAMESPACE)
        for lamp in range(self._lamps):
            name = f"Lamp.{lamp}"
            folder = await server.nodes.objects.add_folder(_node_id(name, self.namespace), name)
            for variable, value, kind, writable in _LAMP_VARIABLES:
                node = await folder.add_variable(
                    _node_id(f"{name}.{variable}", self.namespace), variable, ua.Variant(value, kind)
                )
                if writable:
                    await node.set_writable()
        await server.start()
        self.server = server

    async def stop(self) -> None:
        if self.server is not None:
            await self.server.stop()
            self.server = None

    async def set(
        self,
        lamp: int,
        variable: str,
        value: Any,
        *,
        status: int = StatusCodes.Good,
        source_time: datetime | None = None,
    ) -> None:
        assert self.server is not None
        kind = next(kind for name, _, kind, _ in _LAMP_VARIABLES if name == variable)
        time: Any = source_time or NOON
        data = ua.DataValue(ua.Variant(value, kind), StatusCode=ua.StatusCode(ua.UInt32(status)), SourceTimestamp=time)
        await self._node(lamp, variable).write_attribute(AttributeIds.Value, data)

    async def get(self, lamp: int, variable: str) -> Any:
        return await self._node(lamp, variable).read_value()

    def _node(self, lamp: int, variable: str) -> Any:
        assert self.server is not None
        return self.server.get_node(_node_id(f"Lamp.{lamp}.{variable}", self.namespace))


def _node_id(name: str, namespace: int) -> ua.NodeId:
    return ua.NodeId(ua.String(name), ua.Int16(namespace))
