"""The loop posts each finished night and day once, waits for late meters, and leaves people's decisions alone."""

from datetime import UTC, date, datetime, timedelta

import pytest

from domain.errors import Unavailable
from lichtbuch.ledger.v1 import ledger_pb2 as pb
from servicekit.access import Caller
from servicekit.context import acting_as
from servicekit.convert import timestamp_to_proto
from servicekit.tenants import FixedTenants
from services.ledger.metrics import PERIODS_WAITING
from services.ledger.posting import GRACE, PostingLoop
from services.ledger.verify import verify_bundle
from tests.services.ledger.helpers import TOWN, day_of, night_of
from tests.services.ledger.ledger import RunningLedger, building_measure, lighting_measure
from tests.support.running import TOWNS

TONIGHT = date(2026, 3, 5)
HOUR = timedelta(hours=1)


async def entries(ledger: RunningLedger, measure: str = "-") -> list[pb.Entry]:
    """Everything posted so far."""
    answer = await ledger.admin.ListEntries(pb.ListEntriesRequest(parent=f"{TOWN}/measures/{measure}", page_size=500))
    return list(answer.entries)


async def town_from_tonight(ledger: RunningLedger, nights: int = 3, **changes: object) -> tuple[list[str], list[str]]:
    """A metered town whose measure begins now and posts by itself; the readings of the next nights are there."""
    noons = [night_of(TONIGHT + timedelta(days=n))[0] for n in range(nights)]
    cabinets, meters = ledger.neighbours.town(noons)
    since = timestamp_to_proto(ledger.clock.now())
    await ledger.create(lighting_measure(cabinets, meters, effective_from=since, post_automatically=True, **changes))
    return cabinets, meters


def loop_of(ledger: RunningLedger) -> PostingLoop:
    """A second loop beside the service's own, as another replica runs one."""
    return PostingLoop(ledger.book, FixedTenants(TOWNS), ledger.clock)


async def test_a_finished_night_is_posted_by_itself_after_its_grace(ledger: RunningLedger) -> None:
    await town_from_tonight(ledger)
    _, end = night_of(TONIGHT)
    await ledger.clock.advance(end + GRACE - timedelta(minutes=1) - ledger.clock.now())
    assert await entries(ledger) == []
    await ledger.clock.advance(timedelta(minutes=10))
    (entry,) = await entries(ledger)
    assert (entry.start_time, entry.end_time) == tuple(map(timestamp_to_proto, night_of(TONIGHT)))
    assert entry.posted_by == "service:ledger"
    assert entry.actual_wh == 3_300


async def test_every_night_and_day_is_posted_once_and_the_log_is_sound(any_ledger: RunningLedger) -> None:
    cabinets, _ = await town_from_tonight(any_ledger)
    since = timestamp_to_proto(any_ledger.clock.now())
    await any_ledger.create(lighting_measure(cabinets, effective_from=since, post_automatically=True), "levels")
    meter = any_ledger.neighbours.metering.add("hall")
    for day in range(6, 8):
        any_ledger.neighbours.metering.count(meter, *day_of(date(2026, 3, day)), 300_000, day * 300_000)
    await any_ledger.create(building_measure(meter, effective_from=since, post_automatically=True), "hall")
    await any_ledger.clock.advance(timedelta(days=3, hours=5))
    posted = await entries(any_ledger)
    by_measure = {name: [e for e in posted if f"/{name}/" in e.name] for name in ("led", "levels", "hall")}
    assert {name: len(found) for name, found in by_measure.items()} == {"led": 3, "levels": 3, "hall": 2}
    assert len({(entry.name.rsplit("/", 2)[0], entry.start_time.seconds) for entry in posted}) == 8
    assert (await any_ledger.verify()).problems == []
    assert verify_bundle(await any_ledger.bundle(), any_ledger.public_key).problems == ()


async def test_a_night_of_a_clock_change_is_posted_whole(ledger: RunningLedger) -> None:
    spring = date(2026, 3, 28)
    await ledger.clock.advance(night_of(spring)[0] - HOUR - ledger.clock.now())
    cabinets, meters = ledger.neighbours.town([night_of(spring)[0]])
    since = timestamp_to_proto(ledger.clock.now())
    await ledger.create(lighting_measure(cabinets, meters, effective_from=since, post_automatically=True))
    await ledger.clock.advance(timedelta(hours=25))
    (entry,) = await entries(ledger)
    assert entry.end_time.seconds - entry.start_time.seconds == 23 * 3600
    assert entry.coverage_permille == 1000


async def test_two_loops_at_once_post_every_period_once(any_ledger: RunningLedger) -> None:
    await town_from_tonight(any_ledger)
    await any_ledger.clock.advance(timedelta(days=1))
    any_ledger.clock._now += timedelta(days=2)  # both find two nights due in the same moment
    with acting_as(Caller.of_service("ledger"), action="posting"):
        import asyncio

        await asyncio.gather(*(loop_of(any_ledger).run_once() for _ in range(4)))
    assert [entry.name.rsplit("/", 1)[-1] for entry in await entries(any_ledger)] == ["1", "2", "3"][
        : len(await entries(any_ledger))
    ]
    assert (await any_ledger.verify()).valid


async def test_a_late_meter_is_waited_for_a_day(ledger: RunningLedger) -> None:
    _, meters = await town_from_tonight(ledger, nights=1)
    _, end = night_of(TONIGHT)
    ledger.neighbours.metering.lose(meters[1], end - 6 * HOUR, end + HOUR)
    await ledger.clock.advance(end + 23 * HOUR - ledger.clock.now())
    assert await entries(ledger) == []
    await ledger.clock.advance(2 * HOUR)
    (entry,) = await entries(ledger)
    assert entry.coverage_permille < 1000
    assert "is not known" in entry.computation


async def test_a_late_meter_that_comes_back_completes_the_night(ledger: RunningLedger) -> None:
    _, meters = await town_from_tonight(ledger, nights=1)
    _, end = night_of(TONIGHT)
    last = ledger.neighbours.metering.readings[meters[1]][end]
    ledger.neighbours.metering.lose(meters[1], end - 2 * HOUR, end + HOUR)
    await ledger.clock.advance(end + 3 * HOUR - ledger.clock.now())
    assert await entries(ledger) == []
    assert PERIODS_WAITING._value.get() == 1
    ledger.neighbours.metering.readings[meters[1]][end] = last
    await ledger.clock.advance(timedelta(minutes=40))
    (entry,) = await entries(ledger)
    assert entry.actual_wh == 3_300
    assert PERIODS_WAITING._value.get() == 0


async def test_an_outage_of_metering_only_delays(ledger: RunningLedger) -> None:
    await town_from_tonight(ledger, nights=2)
    ledger.neighbours.metering.away = True
    with acting_as(Caller.of_service("ledger"), action="posting"):
        loop = loop_of(ledger)
        ledger.clock._now = night_of(TONIGHT)[1] + HOUR  # the service's own loop does not notice
        assert await loop.run_once() == 0
        ledger.neighbours.metering.away = False
        assert await loop.run_once() == 1
        assert await loop.run_once() == 0


async def test_what_a_person_reversed_is_not_posted_again_by_itself(ledger: RunningLedger) -> None:
    await town_from_tonight(ledger, nights=2)
    await ledger.clock.advance(timedelta(days=1, hours=5))
    (entry,) = await entries(ledger)
    await ledger.reverse(entry)
    await ledger.clock.advance(timedelta(hours=10))
    assert len(await entries(ledger)) == 2
    # A person posts it anew, and the next night comes by itself as ever.
    await ledger.post(TONIGHT)
    await ledger.clock.advance(timedelta(hours=14))
    assert [e.kind for e in await entries(ledger)] == [1, 2, 1, 1]


async def test_nights_before_the_measure_was_made_are_left_to_people(ledger: RunningLedger) -> None:
    cabinets, meters = ledger.neighbours.town([night_of(date(2026, 3, n))[0] for n in (1, 2, 3)])
    since = timestamp_to_proto(datetime(2026, 1, 1, tzinfo=UTC))
    await ledger.create(lighting_measure(cabinets, meters, effective_from=since, post_automatically=True))
    await ledger.clock.advance(HOUR)
    assert await entries(ledger) == []
    assert (await ledger.post(date(2026, 3, 1))).leaf_index == 0


async def test_one_measure_that_cannot_be_posted_holds_up_no_other(ledger: RunningLedger) -> None:
    cabinets, _ = await town_from_tonight(ledger, nights=1)
    since = timestamp_to_proto(ledger.clock.now())
    silent = ledger.neighbours.metering.add("silent")
    await ledger.create(building_measure(silent, effective_from=since, post_automatically=True), "a-silent")
    gone = ledger.neighbours.metering.add("gone")
    await ledger.create(building_measure(gone, effective_from=since, post_automatically=True), "b-gone")
    del ledger.neighbours.metering.meters[gone]
    await ledger.create(lighting_measure(cabinets, effective_from=since, post_automatically=True), "z-levels")
    await ledger.clock.advance(timedelta(hours=41))
    assert {entry.name.split("/")[3] for entry in await entries(ledger)} == {"led", "z-levels"}


async def test_the_loop_is_part_of_the_services_health(ledger: RunningLedger) -> None:
    await ledger.running.server.health.check_now()
    assert ledger.running.server.health.serving
    ledger.heads._failures["x"] = "no space left on device"
    with pytest.raises(Unavailable, match="no space left"):
        await ledger.heads.check()
