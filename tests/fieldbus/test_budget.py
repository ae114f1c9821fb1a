"""Links over mobile radio: patience, blocks worth their bytes, and a budget that no month exceeds."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput
from fieldbus.budget import Budget, MobileLink, request_overhead
from fieldbus.client import Fieldbus
from fieldbus.device import Limits
from fieldbus.faults import OverBudget
from fieldbus.profile import ModbusLimits
from fieldbus.values import PointAddress, Quality, WriteOutcome
from tests.fieldbus.conftest import FAST, Serve
from tests.fieldbus.servers import Manual

DAY_S = 86_400.0
READ_20 = struct.pack(">HH", 0, 20)
LEVELS = tuple(PointAddress("level_command", gear) for gear in range(4))


def test_patience_follows_the_round_trip_and_is_never_less_than_asked_for() -> None:
    limits = MobileLink(round_trip_s=2.0).limits(Limits())
    assert limits.request_timeout_s == 6.0
    assert limits.connect_timeout_s == 18.0
    assert limits.read_deadline_s == 60.0
    generous = Limits(request_timeout_s=30.0)
    assert MobileLink(round_trip_s=0.5).limits(generous).request_timeout_s == 30.0


def test_a_gap_is_bridged_as_long_as_it_costs_less_than_another_request() -> None:
    assert MobileLink().product(ModbusLimits()).max_gap == request_overhead() // 2 == 90
    assert MobileLink().product(ModbusLimits(), tls=True).max_gap > 90
    assert MobileLink().product(ModbusLimits(max_gap=100)).max_gap == 100


def test_readings_wait_when_their_bytes_are_used_up_and_commands_do_not() -> None:
    clock = Manual()
    budget = Budget(MobileLink(monthly_bytes=620_000), clock.monotonic)
    clock.seconds += DAY_S
    assert budget.available_bytes == 10_000, "half a day's worth may go at once"
    budget.connecting()
    readings = 0
    with pytest.raises(OverBudget, match=r"next reading in \d+ s"):
        while True:
            budget.before(3, READ_20)
            budget.after(12, 49)
            readings += 1
    assert readings == (10_000 - 7 * 52) // (12 + 49 + 3 * 52)
    for _ in range(10):
        budget.before(6, struct.pack(">HH", 0, 1))
        budget.after(12, 12)
    assert budget.available_bytes < 0
    assert budget.bytes_used == 7 * 52 + readings * 217 + 10 * 180
    clock.seconds += DAY_S
    budget.before(3, READ_20)


def test_a_restart_brings_an_hours_worth_and_no_more() -> None:
    budget = Budget(MobileLink(monthly_bytes=7_440_000), Manual().monotonic)
    assert 9_000 < budget.available_bytes < 10_000


def test_what_is_more_than_the_bucket_holds_goes_when_that_is_full_and_is_paid_for_afterwards() -> None:
    clock = Manual()
    budget = Budget(MobileLink(monthly_bytes=620_000), clock.monotonic)
    assert budget.wait_s(1_000_000) > 0
    clock.seconds += DAY_S
    assert budget.wait_s(1_000_000) == 0
    budget.carried(0, 1_000_000)
    assert 31 * DAY_S < budget.wait_s(100) < 100 * DAY_S


def test_bytes_are_carried_in_segments_whose_headers_count() -> None:
    budget = Budget(MobileLink(monthly_bytes=620_000), Manual().monotonic)
    budget.carried(100, 0)
    budget.carried(0, 3000)
    assert budget.bytes_used == 100 + 52 + 3000 + 4 * 52


async def test_a_reading_that_may_not_go_opens_no_connection(fieldbus: Fieldbus, serve: Serve, clock: Manual) -> None:
    server = await serve({1: {"holding": {0: [500] * 200}}})
    lamps = fieldbus.open(server.url, "generic-level-status", link=MobileLink(round_trip_s=0.1, monthly_bytes=100_000))
    assert (await lamps.read(LEVELS)).quality.tolist() == [Quality.MISSING] * 4
    assert "byte budget" in lamps.health().last_error
    assert lamps.health().over_budget
    assert server.connections == 0
    clock.seconds += DAY_S
    assert (await lamps.read(LEVELS)).complete
    assert not lamps.health().over_budget


async def test_closing_and_opening_again_fills_no_bucket(fieldbus: Fieldbus, serve: Serve) -> None:
    server = await serve({1: {"holding": {0: [500] * 200}}})
    link = MobileLink(round_trip_s=0.1, monthly_bytes=1_500_000)
    seen = []
    for _ in range(8):
        lamps = fieldbus.open(server.url, "generic-level-status", link=link)
        seen.append(int((await lamps.read(LEVELS)).quality[0]))
        await lamps.close()
    assert seen[0] == Quality.GOOD
    assert seen[-1] == Quality.MISSING


@given(
    st.integers(100_000, 50_000_000),
    st.lists(st.tuples(st.floats(0, 5 * DAY_S), st.integers(1, 125)), max_size=60),
)
def test_no_month_carries_more_readings_than_it_may(monthly: int, attempts: list[tuple[float, int]]) -> None:
    clock = Manual()
    budget = Budget(MobileLink(monthly_bytes=monthly), clock.monotonic)
    end = clock.seconds + 31 * DAY_S
    for wait_s, count in attempts:
        clock.seconds += wait_s
        if clock.seconds > end:
            break
        for _ in range(200):
            try:
                budget.before(3, struct.pack(">HH", 0, count))
            except OverBudget:
                break
            budget.after(12, 9 + 2 * count)
    assert budget.bytes_used <= monthly


def test_the_least_interval_keeps_the_month() -> None:
    budget = Budget(MobileLink(round_trip_s=2.0, monthly_bytes=5_000_000), Manual().monotonic)
    requests = [(3, 120), (3, 40)]
    interval_s = budget.least_interval_s(requests)
    per_month = 31 * DAY_S / interval_s * (2 * request_overhead() + 160)
    assert 0.97 * 5_000_000 < per_month <= 5_000_000
    assert Budget(MobileLink(round_trip_s=2.0), Manual().monotonic).least_interval_s(requests) == 4.0
    assert budget.least_interval_s([]) == 0.0


@pytest.mark.parametrize(("round_trip_s", "monthly"), [(0.0, None), (120.0, None), (2.0, 10)])
def test_a_link_that_cannot_be_is_refused(round_trip_s: float, monthly: int | None) -> None:
    with pytest.raises(InvalidInput):
        MobileLink(round_trip_s, monthly)


async def test_all_devices_of_an_endpoint_share_its_bytes(fieldbus: Fieldbus, serve: Serve) -> None:
    registers = {"holding": {0: [500] * 200}}
    server = await serve({1: registers, 2: registers})
    link = MobileLink(round_trip_s=0.1, monthly_bytes=1_500_000)  # 1 980 at the start
    lamps = fieldbus.open(f"{server.url}?unit=1", "generic-level-status", link=link, limits=FAST)
    others = fieldbus.open(f"{server.url}?unit=2", "generic-level-status")
    qualities = []
    for _ in range(6):
        qualities.append(int((await lamps.read(LEVELS)).quality[0]))
        qualities.append(int((await others.read(LEVELS)).quality[0]))
    good = qualities.count(Quality.GOOD)
    assert qualities == [Quality.GOOD] * good + [Quality.MISSING] * (12 - good)
    assert 4 <= good <= 10
    assert "byte budget" in others.health().last_error
    assert others.health().consecutive_failures == 0
    (result,) = await lamps.write([(LEVELS[0], 300)], verify=False)
    assert result.outcome is WriteOutcome.ACCEPTED
    # A register that wears is read before it is written, and that reading belongs to the command.
    (result,) = await lamps.write([(PointAddress("level_power_on", 1), 1000)], verify=False)
    assert result.outcome is WriteOutcome.ACCEPTED
    assert int((await lamps.read(LEVELS)).quality[0]) == Quality.MISSING


async def test_a_device_says_how_often_its_points_can_be_read(fieldbus: Fieldbus) -> None:
    link = MobileLink(round_trip_s=2.0, monthly_bytes=1_000_000)
    far = fieldbus.open("modbus+tcp://10.0.0.2", "generic-level-status", link=link)
    near = fieldbus.open("modbus+tcp://10.0.0.3", "generic-level-status")
    least_interval_s = far.least_interval_s(LEVELS)
    assert 400 < least_interval_s < 800
    assert near.least_interval_s(LEVELS) == 0.0


async def test_one_endpoint_has_one_kind_of_link(fieldbus: Fieldbus) -> None:
    fieldbus.open("modbus+tcp://10.0.0.1?unit=1", "generic-level-status")
    with pytest.raises(InvalidInput, match="another kind of link"):
        fieldbus.open("modbus+tcp://10.0.0.1?unit=2", "generic-level-status", link=MobileLink())
