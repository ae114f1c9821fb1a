"""Asking devices for their past: in parts that they can answer, and without one keeping the others waiting."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from domain.errors import OutOfLimits
from fieldbus.faults import OverBudget
from fieldbus.values import PointAddress, Quality, TimeSource, ValueBatch
from servicekit.clock import SteppedClock
from servicekit.database import Database
from services.metering.acquisition.asked import Asked
from services.metering.acquisition.catch_up import CatchUp
from services.metering.reading import Status
from services.metering.slot import SLOT_MS, from_ms, to_ms
from tests.services.metering.field import FieldMeter, Town, Worker

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

RECORDED_EVERY_MS = SLOT_MS // 3


class Recording(FieldMeter):
    """A meter that keeps its past, and tells so many values of it at once."""

    def __init__(self, clock: SteppedClock, most: int) -> None:
        super().__init__(clock)
        self.most = most
        self.asked: list[int] = []
        self.error: Exception | None = None
        self.refusal: Exception = OutOfLimits.of("end", "ask for less")

    async def history(self, points: Sequence[PointAddress], start: datetime, end: datetime) -> list[ValueBatch]:
        """What it counted every five minutes."""
        if self.error is not None:
            raise self.error
        first = -(-to_ms(start) // RECORDED_EVERY_MS)
        instants = np.arange(first * RECORDED_EVERY_MS, to_ms(end), RECORDED_EVERY_MS)
        self.asked.append(len(instants))
        if len(instants) > self.most:
            raise self.refusal
        hours = (instants - to_ms(self._counted_from)) / 3_600_000
        count = len(instants)
        return [
            ValueBatch(
                [points[0]] * count,
                np.floor(self._counter_wh + self.load_w * hours),
                np.full(count, Quality.GOOD, np.uint8),
                instants,
                np.full(count, TimeSource.DEVICE, np.uint8),
            )
        ]


@pytest.fixture
async def town(database: Database, tmp_path: Path) -> Town:
    return Town(database, tmp_path)


@pytest.fixture
async def workers(town: Town) -> AsyncIterator[list[Worker]]:
    """Whoever polls here; all are killed at the end."""
    started: list[Worker] = []
    yield started
    for worker in started:
        await worker.kill()


async def add(town: Town, meter_id: str, most: int = 10_000) -> Recording:
    meter = town.field.meters[f"test://{meter_id}"] = Recording(town.clock, most)
    await town.add_at(f"test://{meter_id}", "eastron-sdm630", meter_id)
    return meter


async def outage(town: Town, workers: list[Worker], *meters: Recording) -> Worker:
    """A worker, a quarter hour that is read, eight in which nobody answers, one that is read again."""
    workers.append(worker := Worker(town))
    await worker.quarter_hours(1)
    for meter in meters:
        meter.answers = False
    await worker.quarter_hours(8)
    for meter in meters:
        meter.answers = True
    await worker.quarter_hours(1)
    return worker


def catch_up_of(town: Town, worker: Worker) -> CatchUp:
    return CatchUp(
        clock=town.clock,
        database=town.database,
        devices=worker.poller._devices,
        book=worker.book,
        asked=Asked(town.folder / "caught-up.json"),
        polled_ms=lambda: worker.poller.polled_ms,
        may_work=lambda: True,
        settle=worker.recorder.settle,
    )


async def statuses(town: Town, meter_id: str) -> list[int]:
    found = await town.readings(meter_id)
    return [int(status) for status in found.status]


@pytest.mark.parametrize("most", [10_000, 7, 4])
async def test_a_server_that_gives_but_few_values_at_once_is_asked_for_less_until_all_gaps_are_filled(
    town: Town, workers: list[Worker], most: int
) -> None:
    meter = await add(town, "M-1", most)
    worker = await outage(town, workers, meter)
    assert await statuses(town, "M-1") == [1] + 8 * [2] + [1]
    assert await catch_up_of(town, worker).look(worker.poller.polled_ms) == 8
    found = await town.readings("M-1")
    assert found.status.tolist() == [Status.MEASURED] * 10
    assert np.diff(found.value).tolist() == [np.diff(found.value)[0]] * 9
    assert min(meter.asked) <= most
    # Nor is anything asked for again, by this process or the next one.
    meter.asked.clear()
    assert await catch_up_of(town, worker).look(worker.poller.polled_ms) == 0
    assert meter.asked == []


async def test_a_link_that_may_carry_but_few_bytes_is_asked_for_less_each_time_until_its_gaps_are_filled(
    town: Town, workers: list[Worker]
) -> None:
    meter = await add(town, "M-1", most=10)
    meter.refusal = OverBudget("no bytes are left for now")
    worker = await outage(town, workers, meter)
    catch_up = catch_up_of(town, worker)
    filled = [await catch_up.look(worker.poller.polled_ms) for _ in range(6)]
    assert sum(filled) == 8
    assert filled[0] == 0  # and no second question in the same look
    assert await statuses(town, "M-1") == 10 * [1]


async def test_a_server_with_too_much_for_a_single_slot_keeps_its_gaps_and_is_left_in_peace(
    town: Town, workers: list[Worker]
) -> None:
    meter = await add(town, "M-1", most=1)
    worker = await outage(town, workers, meter)
    assert await catch_up_of(town, worker).look(worker.poller.polled_ms) == 0
    assert await statuses(town, "M-1") == [1] + 8 * [2] + [1]
    meter.asked.clear()
    assert await catch_up_of(town, worker).look(worker.poller.polled_ms) == 0
    assert meter.asked == []


async def test_a_server_whose_answer_nobody_understands_keeps_no_other_from_being_asked(
    town: Town, workers: list[Worker]
) -> None:
    odd, plain = await add(town, "M-1"), await add(town, "M-2")
    worker = await outage(town, workers, odd, plain)
    odd.error = ZeroDivisionError("that nobody has thought of")
    catch_up = catch_up_of(town, worker)
    assert await catch_up.look(worker.poller.polled_ms) == 8
    assert await statuses(town, "M-2") == 10 * [1]
    odd.error = None
    assert await catch_up.look(worker.poller.polled_ms) == 8
    assert await statuses(town, "M-1") == 10 * [1]


async def test_questions_go_no_further_when_the_next_slot_is_near(town: Town, workers: list[Worker]) -> None:
    meter = await add(town, "M-1", most=4)
    worker = await outage(town, workers, meter)
    allowed = iter([True] * 6 + [False] * 100)
    catch_up = catch_up_of(town, worker)
    catch_up._may_work = lambda: next(allowed)
    filled = await catch_up.look(worker.poller.polled_ms)
    assert 0 <= filled < 8
    assert await catch_up_of(town, worker).look(worker.poller.polled_ms) == 8 - filled
    assert await statuses(town, "M-1") == 10 * [1]
    assert from_ms(worker.poller.polled_ms) < town.clock.now()
