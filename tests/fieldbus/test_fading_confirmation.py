"""A lamp that fades shows its level at the end: the read-back waits for as long as the fade lasts, and not for ever."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from fieldbus.client import Fieldbus
from fieldbus.profile import Profile
from fieldbus.profile_loader import load_profile
from fieldbus.values import PointAddress, WriteOutcome
from tests.fieldbus.conftest import FAST, ServeRaw
from tests.fieldbus.servers import answer_frame

LEVEL = PointAddress("level_command", 0)
IMPATIENT = replace(FAST, confirm_timeout_s=0.04, confirm_interval_s=0.01, confirm_fade_max_s=2.0)


def confirmed_by_effect(*, without: str = "") -> Profile:
    """Intesis' map, its commands confirmed by the level in effect."""
    profile = load_profile("intesis-dali")
    points = {name: binding for name, binding in profile.points.items() if name != without}
    points["level_command"] = replace(points["level_command"], confirm="level_actual")
    return replace(profile, points=points)


class Gear:
    """One lamp that fades in steps, one with each time that it is looked at."""

    def __init__(self, steps: int, *, fade_code: int = 0, ends_at: int | None = None) -> None:
        self.registers = [0] * 100
        self.registers[13] = fade_code
        self._left = steps
        self._ends_at = ends_at
        self.looked_at = 0

    async def behave(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        start = int.from_bytes(request[8:10], "big")
        if request[7] == 6:
            self.registers[start] = int.from_bytes(request[10:12], "big")
            self.registers[5] = 0b10000
            writer.write(answer_frame(request, request[7:]))
            return
        count = int.from_bytes(request[10:12], "big")
        if start <= 6 < start + count:
            self.looked_at += 1
            self._left -= 1
            if self._left <= 0:
                self.registers[5] = 0
                self.registers[6] = self.registers[15] if self._ends_at is None else self._ends_at
        data = b"".join(value.to_bytes(2, "big") for value in self.registers[start : start + count])
        writer.write(answer_frame(request, bytes((3, 2 * count)) + data))


async def test_while_the_lamp_says_that_it_fades_the_read_back_waits(fieldbus: Fieldbus, serve_raw: ServeRaw) -> None:
    gear = Gear(9)
    server = await serve_raw(gear.behave)
    lamp = fieldbus.open(server.url, confirmed_by_effect(without="fade_time"), limits=IMPATIENT)
    (result,) = await lamp.write([(LEVEL, 400)])
    assert (result.outcome, result.read_back) == (WriteOutcome.CONFIRMED, 400)
    assert gear.looked_at == 9


async def test_a_lamp_that_does_not_say_whether_it_fades_gets_its_fade_time(
    fieldbus: Fieldbus, serve_raw: ServeRaw
) -> None:
    gear = Gear(9, fade_code=2)  # one second
    server = await serve_raw(gear.behave)
    lamp = fieldbus.open(server.url, confirmed_by_effect(without="fade_running"), limits=IMPATIENT)
    (result,) = await lamp.write([(LEVEL, 400)])
    assert result.outcome is WriteOutcome.CONFIRMED


async def test_a_fade_that_never_ends_is_not_waited_for_beyond_the_limit(
    fieldbus: Fieldbus, serve_raw: ServeRaw
) -> None:
    gear = Gear(10**9, fade_code=15)  # a minute and a half
    server = await serve_raw(gear.behave)
    lamp = fieldbus.open(server.url, confirmed_by_effect(), limits=replace(IMPATIENT, confirm_fade_max_s=0.1))
    async with asyncio.timeout(20):
        (result,) = await lamp.write([(LEVEL, 400)])
    assert result.outcome is WriteOutcome.ACCEPTED
    assert result.reason == "reads back 0 permille, commanded 400 permille"


async def test_a_fade_that_ends_elsewhere_is_no_confirmation(fieldbus: Fieldbus, serve_raw: ServeRaw) -> None:
    gear = Gear(3, ends_at=20)
    server = await serve_raw(gear.behave)
    lamp = fieldbus.open(server.url, confirmed_by_effect(without="fade_time"), limits=IMPATIENT)
    (result,) = await lamp.write([(LEVEL, 400)])
    assert (result.outcome, result.read_back) == (WriteOutcome.ACCEPTED, 200)
