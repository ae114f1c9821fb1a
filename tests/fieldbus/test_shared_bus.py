"""A gateway with 200 units behind one connection, one of them dead and one slow. Judged by the gateway's own books."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import replace

import pytest

from fieldbus.client import Fieldbus
from fieldbus.device import Device, Limits
from fieldbus.faults import AnswerLost, LinkDown, Postponed
from fieldbus.modbus.line.bus import Asker, ModbusBus
from fieldbus.modbus.line.links import link_maker
from fieldbus.profile import ModbusLimits
from fieldbus.security import FieldSecurity
from fieldbus.url import parse_url
from fieldbus.values import Counters, PointAddress, Quality
from tests.fieldbus.conftest import FAST, ServeRaw
from tests.fieldbus.servers import Manual, RawServer, answer_frame, eventually, registers_pdu
from tests.support.patient_loop import loop_time

LEVEL = (PointAddress("level_command", 0),)
READ = struct.pack(">HH", 0, 1)
WRITE = struct.pack(">HH", 0, 1)
DEAD, SLOW = 199, 200
SLOW_S = 0.06
HEALTHY_S = 0.002  # and what the machine adds: 5 ms at the most, or the slow one is not slow beside them
# The dead is asked again as often as the bus lets it: back-off is not what protects the neighbours here.
HASTY = replace(FAST, request_timeout_s=0.09, backoff_initial_s=0.001, backoff_max_s=0.001, read_deadline_s=60.0)


class Gateway:
    """Answers one request at a time, as a serial line behind it would, and keeps books: whose request kept the line how
    long, from its arrival to that of the next."""

    def __init__(self) -> None:
        self.served: dict[int, int] = {}
        self.line_s: dict[int, float] = {}
        self._last: tuple[int, float] | None = None

    async def __call__(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        unit = request[6]
        self.book(unit)
        if unit == DEAD:
            return
        await asyncio.sleep(SLOW_S if unit == SLOW else HEALTHY_S)
        self.served[unit] = self.served.get(unit, 0) + 1
        writer.write(answer_frame(request, registers_pdu(request, 700)))

    def book(self, unit: int) -> None:
        now = asyncio.get_running_loop().time()
        if self._last is not None:
            owner, since = self._last
            self.line_s[owner] = self.line_s.get(owner, 0.0) + now - since
        self._last = (unit, now)


async def _poll(device: Device) -> None:
    while True:
        await device.read(LEVEL)
        await asyncio.sleep(0)


async def test_one_dead_and_one_slow_unit_among_200_cost_the_others_less_than_five_percent(serve_raw: ServeRaw) -> None:
    gateway = Gateway()
    server = await serve_raw(gateway)
    bus = Fieldbus(now=Manual().now, limits=HASTY, monotonic=loop_time)
    devices = [bus.open(f"{server.url}?unit={unit}", "generic-level-status") for unit in range(1, 201)]
    tasks = [asyncio.create_task(_poll(device)) for device in devices]
    try:
        # First it has to be seen who is sick: each of them is asked, and so is everybody else.
        await eventually(lambda: len(gateway.served) == 199 and DEAD in gateway.line_s, within_s=30)
        before = dict(gateway.served)
        gateway.line_s.clear()
        cycles = 20
        await eventually(lambda: sum(gateway.served.values()) - sum(before.values()) >= cycles * 198, within_s=120)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await bus.close()
    sick_s = gateway.line_s.get(DEAD, 0.0) + gateway.line_s.get(SLOW, 0.0)
    assert sick_s < 0.05 * sum(gateway.line_s.values())
    # Everybody healthy had the same number of turns.
    turns = [gateway.served[unit] - before[unit] for unit in range(1, 199)]
    assert max(turns) - min(turns) <= 1


async def test_a_slow_unit_has_its_turn_when_it_has_paid_though_nobody_else_asks_any_more(serve_raw: ServeRaw) -> None:
    server = await serve_raw(Gateway())
    bus = Fieldbus(
        now=Manual().now, limits=replace(HASTY, request_timeout_s=2.0, read_deadline_s=3600.0), monotonic=loop_time
    )
    slow, *healthy = [bus.open(f"{server.url}?unit={unit}", "generic-level-status") for unit in (SLOW, *range(1, 9))]
    try:
        async with asyncio.timeout(30):
            for _ in range(3):  # the others wait for it, and it has to wait for that
                await asyncio.gather(*(device.read(LEVEL) for device in (slow, *healthy)))
            batch = await slow.read(LEVEL)
        assert batch.quality[0] == Quality.GOOD
    finally:
        await bus.close()


def _bus(server: RawServer, limits: Limits = FAST) -> ModbusBus:
    clock = asyncio.get_running_loop().time
    return ModbusBus(link_maker(parse_url(server.url), FieldSecurity()), limits, clock, lambda: 0.999)


async def _ask(
    bus: ModbusBus, unit: int, function_code: int = 3, payload: bytes = READ, product: ModbusLimits | None = None
) -> bytes:
    return await bus.exchange(Asker(unit, product or ModbusLimits(), Counters(), 1.0), function_code, payload)


class Held:
    """Answers only when released, in the order of arrival; counts how many waited at once."""

    def __init__(self) -> None:
        self.arrived: list[tuple[int, int]] = []
        self.release = asyncio.Event()
        self._held: list[bytes] = []

    async def __call__(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        self.arrived.append((request[6], request[7]))
        self._held.append(request)
        if self.release.is_set():
            self.answer(writer)
        elif len(self._held) == 1:
            asyncio.get_running_loop().create_task(self._later(writer))

    async def _later(self, writer: asyncio.StreamWriter) -> None:
        await self.release.wait()
        self.answer(writer)

    def answer(self, writer: asyncio.StreamWriter) -> None:
        for request in self._held:
            pdu = request[7:12] if request[7] == 6 else registers_pdu(request, 1)
            writer.write(answer_frame(request, pdu))
        self._held.clear()


async def test_a_command_goes_out_before_the_readings_that_wait(serve_raw: ServeRaw) -> None:
    held = Held()
    bus = _bus(await serve_raw(held))
    readings = [asyncio.create_task(_ask(bus, unit)) for unit in (1, 2, 3)]
    await eventually(lambda: len(held.arrived) == 1)
    command = asyncio.create_task(_ask(bus, 9, 6, WRITE))
    await asyncio.sleep(0)
    held.release.set()
    await asyncio.gather(command, *readings)
    assert held.arrived == [(1, 3), (9, 6), (2, 3), (3, 3)]
    bus.close()


@pytest.mark.parametrize("allowed", [1, 3])
async def test_only_so_many_requests_are_under_way_as_the_product_takes(serve_raw: ServeRaw, allowed: int) -> None:
    held = Held()
    bus = _bus(await serve_raw(held))
    gateway = ModbusLimits(max_in_flight=allowed)
    tasks = [asyncio.create_task(_ask(bus, unit, product=gateway)) for unit in range(1, 8)]
    await eventually(lambda: len(held.arrived) == allowed)
    await asyncio.sleep(0.02)
    assert len(held.arrived) == allowed
    held.release.set()
    await asyncio.gather(*tasks)
    assert len(held.arrived) == 7
    bus.close()


async def test_the_most_careful_product_decides_for_its_connection(serve_raw: ServeRaw) -> None:
    held = Held()
    bus = _bus(await serve_raw(held))
    held.release.set()
    await _ask(bus, 1, product=ModbusLimits(max_in_flight=1))
    held.release.clear()
    gateway = ModbusLimits(max_in_flight=8)
    tasks = [asyncio.create_task(_ask(bus, unit, product=gateway)) for unit in (2, 3)]
    await eventually(lambda: len(held.arrived) == 2)
    await asyncio.sleep(0.02)
    assert len(held.arrived) == 2
    held.release.set()
    await asyncio.gather(*tasks)
    bus.close()


async def test_who_gives_up_waiting_leaves_the_turn_to_the_next(serve_raw: ServeRaw) -> None:
    held = Held()
    bus = _bus(await serve_raw(held))
    first, second, third = (asyncio.create_task(_ask(bus, unit)) for unit in (1, 2, 3))
    await eventually(lambda: len(held.arrived) == 1)
    second.cancel()
    held.release.set()
    await asyncio.gather(first, third)
    assert held.arrived == [(1, 3), (3, 3)]
    # The bus is free again, also after the one who spoke was cancelled.
    held.release.clear()
    speaking = asyncio.create_task(_ask(bus, 4))
    await eventually(lambda: len(held.arrived) == 3)
    speaking.cancel()
    held.release.set()
    await _ask(bus, 5)
    with pytest.raises(asyncio.CancelledError):
        await speaking
    bus.close()


async def test_a_bus_closed_meanwhile_tells_everybody(serve_raw: ServeRaw) -> None:
    held = Held()
    bus = _bus(await serve_raw(held))
    tasks = [asyncio.create_task(_ask(bus, unit)) for unit in (1, 2, 3)]
    await eventually(lambda: len(held.arrived) == 1)
    bus.close()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [AnswerLost, LinkDown, LinkDown]


async def test_a_reading_that_gets_no_turn_in_time_is_missing_and_says_why(serve_raw: ServeRaw) -> None:
    gateway = Gateway()
    server = await serve_raw(gateway)
    limits = replace(HASTY, read_deadline_s=0.3)
    bus = Fieldbus(now=Manual().now, limits=limits, monotonic=loop_time)
    healthy = [bus.open(f"{server.url}?unit={unit}", "generic-level-status") for unit in range(1, 6)]
    slow = bus.open(f"{server.url}?unit={SLOW}", "generic-level-status")
    tasks = [asyncio.create_task(_poll(device)) for device in healthy]
    try:
        async with asyncio.timeout(20):
            while True:
                batch = await slow.read(LEVEL)
                if batch.quality[0] == Quality.MISSING:
                    break
        assert f"unit {SLOW} is slow or silent" in slow.health().last_error
        # It was nobody's fault that a probe could clear up: no back-off, the next reading may have its turn.
        assert slow.health().consecutive_failures == 0
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await bus.close()
    assert issubclass(Postponed, LinkDown)
