"""A small soak in every run: two days around a DST night, an outage, kills, an exchange, a reset, late data.

The month with two thousand registers is tests/long/test_metering_soak.py.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.metering.slot import to_ms
from tests.services.metering.soak.month import Kill, Plan, Soak
from tests.services.metering.soak.truth import make_truth
from tests.support.issuer import Issuer

NOON_BEFORE_SUMMER_TIME = to_ms(datetime(2026, 3, 28, 12, tzinfo=UTC))


@pytest.mark.timeout(600)
async def test_two_days_with_a_dst_night_are_kept_to_the_watt_hour(issuer: Issuer, tmp_path: Path) -> None:
    slots = 2 * 96 + 1
    outage = range(80, 112)
    truth = make_truth(
        5, NOON_BEFORE_SUMMER_TIME,
        devices=6, slots=slots, exchanges=1, resets=1, silences=2, no_change=range(78, 120),
    )  # fmt: skip
    kills = [Kill(95, "spool.written"), Kill(112, "drain.committed"), Kill(150, down=3)]
    plan = Plan(truth, kills, [outage], imports=[160, 185])
    tally = await Soak(plan, tmp_path, f"sqlite:///{tmp_path}/metering.db", issuer, None).run()
    assert tally.wrong == []
    assert tally.kills == len(kills)
    assert tally.died_at == {"spool.written": 1, "drain.committed": 1}
    assert tally.imported > 0
    assert tally.most_spooled >= len(outage) - 2
    assert tally.gaps > tally.imported
