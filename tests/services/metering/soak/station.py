"""The field of a soak on real Modbus TCP: a few ports with many units each, which show what the truth says of now."""

from __future__ import annotations

from simulator.modbus.server import NO_TARGET, Disturbance, ModbusPort
from simulator.modbus.unit import ILLEGAL_ADDRESS, ModbusRefusal, Unit
from tests.services.metering.soak.truth import REGISTERS, Truth

UNITS_PER_PORT = 25


class _Meter(Unit):
    """Ten registers of 64 bit from address 0 on."""

    model = "Soak"

    def __init__(self, station: Station, device: int) -> None:
        self._station = station
        self._first = device * REGISTERS * 8

    def read_input(self, address: int, count: int) -> bytes:
        """Function 4."""
        if address + count > REGISTERS * 4:
            raise ModbusRefusal(ILLEGAL_ADDRESS)
        begin = self._first + 2 * address
        return self._station.image[begin : begin + 2 * count]


class Station:
    """All meters of a soak. Time is where `show` has put it."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self.image = b""
        self._ports = [
            ModbusPort(
                f"soak-{begin}",
                {number - begin + 1: _Meter(self, number) for number in range(begin, end)},
                before=lambda: None,
            )
            for begin in range(0, truth.devices, UNITS_PER_PORT)
            for end in [min(truth.devices, begin + UNITS_PER_PORT)]
        ]
        self._silent: set[int] = set()

    async def start(self) -> None:
        """Listens."""
        for port in self._ports:
            await port.start()

    async def stop(self) -> None:
        """Stops listening."""
        for port in self._ports:
            await port.stop()

    def url(self, device: int) -> str:
        """Where a device answers."""
        port = self._ports[device // UNITS_PER_PORT]
        return f"modbus+tcp://127.0.0.1:{port.port}?unit={device % UNITS_PER_PORT + 1}"

    @property
    def requests(self) -> int:
        """Readings that were asked for so far (and the question who is there, once a connection)."""
        return sum(sum(port.requests.values()) for port in self._ports)

    @property
    def connections(self) -> int:
        """Connections that were made so far."""
        return sum(port.accepted for port in self._ports)

    async def show(self, slot: int) -> None:
        """Puts the field's time to a slot."""
        self.image = self._truth.shown[:, slot].astype(">u8").tobytes()
        silent = set(self._truth.silent[:, slot].nonzero()[0].tolist())
        for device in silent ^ self._silent:
            port = self._ports[device // UNITS_PER_PORT]
            wrong = Disturbance(dead=NO_TARGET) if device in silent else None
            await port.disturb(device % UNITS_PER_PORT + 1, wrong)
        self._silent = silent
