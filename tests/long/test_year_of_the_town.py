"""A year of the demonstration town on a stepped clock, in one process: the real scheduler and lighting over gRPC and
SQLite, the simulator's devices over Modbus and OPC UA, and the year worked out once more by hand and with another
library's sun.

Every change of every lamp is judged, none is sampled. 22 of the 100 cabinets take a quarter of an hour of a core: every
fifth, so that every pattern of feeders is there, and the last two, which are of the other makes.
LICHTBUCH_TEST_YEAR_CABINETS=all takes the whole town.
"""

from __future__ import annotations

import os
import time
from datetime import date
from pathlib import Path

import pytest

from lichtbuch.scheduler.v1.preview_pb2 import GroupPreview
from simulator.demo import demo_town
from simulator.town import PERMANENT, Town
from tests.support.almanac import DAY, noon
from tests.support.stepped_town import some_cabinets, stepped_town
from tests.support.town_year import calendars, give_calendars, preview, streets_of
from tests.support.year_ledger import Sums

pytestmark = [pytest.mark.long, pytest.mark.timeout(4 * 3600)]

FIRST = date(2027, 1, 1)
NIGHTS = int(os.environ.get("LICHTBUCH_TEST_YEAR_NIGHTS", "365"))
WITHIN = 0.001


def town_of_the_year() -> Town:
    """The demonstration town, or what is enough of it."""
    town = demo_town()
    if os.environ.get("LICHTBUCH_TEST_YEAR_CABINETS", "") == "all":
        return some_cabinets(town, range(len(town.cabinets)))
    return some_cabinets(town, [*range(0, len(town.cabinets), 5), len(town.cabinets) - 2, len(town.cabinets) - 1])


def test_the_part_of_the_town_that_a_year_is_tried_on_has_all_that_the_town_has() -> None:
    whole, part = demo_town(), town_of_the_year()
    assert {e.profile for e in part.endpoints} == {e.profile for e in whole.endpoints if e.owner == "lighting"}
    assert {s.name for s in streets_of(part)} == {s.name for s in streets_of(whole)}
    assert {lamp.model for lamp in part.luminaires} == {lamp.model for lamp in whole.luminaires}
    assert _circuits(part) == _circuits(whole)


def _circuits(town: Town) -> set[tuple[bool, ...]]:
    """Which kinds of feeders stand together in a cabinet."""
    return {tuple(f.supply == PERMANENT for f in town.feeders if f.cabinet == c.id) for c in town.cabinets}


async def test_a_year_of_the_town(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    began, busy = time.monotonic(), time.process_time()
    async with stepped_town(tmp_path, noon(FIRST), town_of_the_year()) as town:
        streets = streets_of(town.town)
        await give_calendars(town, streets)
        told = {s.name: await preview(town, s.name, calendars()[s.name], FIRST, NIGHTS) for s in streets}
        sums = Sums(town, streets)
        asked = FIRST
        for number in range(NIGHTS):
            night = FIRST + number * DAY
            await sums.live(night)
            if night.day == 1 and night > FIRST:  # the month before, a night later
                await sums.ask_history(noon(night))
                asked = night
                with capsys.disabled():
                    print(
                        f"until {night}: {(time.monotonic() - began) / 60:.1f} min, {len(sums.wrong)} wrong", flush=True
                    )
        end = noon(FIRST + NIGHTS * DAY)
        if noon(asked) < end:
            await sums.ask_history(end)
        with capsys.disabled():
            print(_told(sums, told, time.monotonic() - began, time.process_time() - busy), flush=True)
        assert sums.wrong == []
        assert sums.lit_at_noon == []
        assert sums.wrong_feeders == []
        assert (abs(sums.known_s - (end - noon(FIRST)).total_seconds()) < 60).all()
        assert sums.worst("burning_s") < WITHIN
        assert sums.worst("history_s") < WITHIN
        assert abs(sums.history_wh / sums.energy_wh - 1).max() < 0.02
        assert abs(sums.history_wh.sum() / sums.energy_wh.sum() - 1) < WITHIN
        assert max(sums.worst_of_preview(told).values()) < WITHIN


def _told(sums: Sums, told: dict[str, GroupPreview], wall_s: float, busy_s: float) -> str:
    """What the year came to, for people."""
    requests = sum(row.get("requests", 0) for row in sums.town.simulator.devices.traffic())
    lines = [
        f"{sums.nights} nights of {len(sums.ids)} lamps at {len(sums.town.town.cabinets)} cabinets:"
        f" {wall_s / 60:.1f} min, {busy_s / 60:.1f} min of a core",
        f"{requests} Modbus requests, {sums.town.simulator.field.writes.total} writes,"
        f" {sums.changes} instants at which lamps changed",
        f"wrong {len(sums.wrong)}, lit at noon {len(sums.lit_at_noon)}, wrong feeders {len(sums.wrong_feeders)}",
        f"burning hours against the almanac, worst lamp: simulator {sums.worst('burning_s'):.6%},"
        f" history {sums.worst('history_s'):.6%}",
        f"energy of the history against the lamps': {sums.history_wh.sum() / sums.energy_wh.sum() - 1:+.6%},"
        f" worst lamp {abs(sums.history_wh / sums.energy_wh - 1).max():.6%}",
        *(f"preview of {what}, worst group: {worst:.6%}" for what, worst in sums.worst_of_preview(told).items()),
    ]
    return "\n".join(lines)
