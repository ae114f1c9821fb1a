"""Nights of the town on a stepped clock in one process, over both changes of the clock: no lamp dark when its plan says
lit, none lit at noon, and the preview told what came. The whole year is tests/long/test_year_of_the_town.py.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from simulator.demo import DemoSize, demo_town
from tests.support.almanac import DAY, noon
from tests.support.stepped_town import stepped_town
from tests.support.town_year import calendars, give_calendars, preview, streets_of
from tests.support.year_ledger import Sums

SMALL = DemoSize(luminaires=90, cabinets=4, monitored=0, buildings=0)


@pytest.mark.parametrize(
    "first", [pytest.param(date(2027, 3, 26), id="Easter, when clocks go forward"),
              pytest.param(date(2027, 10, 29), id="end of October, when clocks go back")],
)  # fmt: skip
async def test_nights_over_a_change_of_the_clock(first: date, tmp_path: Path) -> None:
    nights = 3
    async with stepped_town(tmp_path, noon(first), demo_town(SMALL), scheduler_every_s=86_400) as town:
        streets = streets_of(town.town)
        await give_calendars(town, streets)
        told = {s.name: await preview(town, s.name, calendars()[s.name], first, nights) for s in streets}
        sums = Sums(town, streets)
        for number in range(nights):
            await sums.live(first + number * DAY)
        assert sums.wrong == []
        assert sums.lit_at_noon == []
        assert sums.wrong_feeders == []
        await sums.ask_history(town.clock.now())
        assert sums.worst("burning_s") < 0.001
        assert sums.worst("history_s") < 0.001
        assert max(sums.worst_of_preview(told).values()) < 0.001
