"""The whole demonstration town, as `make run SPEED=600` shows it: 5 300 lamps, 100 cabinets, one night."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.night import Night, entry_of, judge_levels, live_through
from tests.support.town import Town, run_command

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]


async def test_a_night_of_the_whole_town(tmp_path: Path) -> None:
    async with Town.make(tmp_path, speed=600.0) as town:
        await town.start_everything()
        noon, end = await town.next_night()
        night = await live_through(Night(town, noon, end))
        wrong, judged = await judge_levels(night)
        assert wrong == []
        assert judged > 8 * 5_000
        entry = await entry_of(night, "led-metered")
        begin, finish = await town.meters_at(noon), await town.meters_at(end)
        metered = [meter["id"] for meter in town.inventory["meters"] if meter["cabinet"]]
        truth = sum(finish[meter] - begin[meter] for meter in metered)
        assert len(metered) == 22
        assert entry.actual_wh == pytest.approx(truth, rel=0.001)
        done = await run_command(town, "auditor", "ledger", "verify")
        assert done.returncode == 0, done.stdout + done.stderr
