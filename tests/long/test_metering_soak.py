"""A month of two thousand registers on a stepped clock: 200 meters with ten registers each over real Modbus TCP, every
quarter hour of March 2026 with its 23-hour day, the real metering process over PostgreSQL.

The database is away for a day, the process is killed 50 times (in the middle of a reading, of a spool write, of a
commit, of a drain, of a reset that is being recorded), 20 meters are exchanged, most of them recorded late, 20 are
reset, some do not answer for hours, and what was missed is partly brought later. Then every row is counted against
what the meters showed.

LICHTBUCH_TEST_SOAK_METERS and LICHTBUCH_TEST_SOAK_DAYS take a smaller field or less time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from services.metering.slot import to_ms
from tests.services.metering.soak.month import Kill, Plan, Soak
from tests.services.metering.soak.truth import Truth, make_truth
from tests.support.issuer import Issuer
from tests.support.postgres import PostgresServer

pytestmark = [pytest.mark.long, pytest.mark.timeout(4 * 3600)]

METERS = int(os.environ.get("LICHTBUCH_TEST_SOAK_METERS", "200"))
DAYS = int(os.environ.get("LICHTBUCH_TEST_SOAK_DAYS", "31"))
DAY = 96
START_MS = to_ms(datetime(2026, 2, 28, 23, tzinfo=UTC))
"""The first of March in Germany. The 29th has 23 hours."""
SLOTS = DAYS * DAY + 1 - (4 if DAYS >= 29 else 0)
OUTAGE = range(SLOTS // 3, SLOTS // 3 + DAY)
AFTER = range(OUTAGE.stop, OUTAGE.stop + 24)
"""What was spooled is drained, most of it, within these."""
KILLS = 50
FULL_SIZE = (200, 31)
_POINTS = ("store.before", "store.committed")
_POINTS_AWAY = ("spool.partial", "spool.written")
_POINTS_RESET = ("reset.before", "reset.recorded")
_POINTS_AFTER = ("drain.committed", "drain.removed", "store.before", "")


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    """An issuer of tokens."""
    made = Issuer()
    yield made
    made.close()


def kills_of(truth: Truth) -> list[Kill]:
    """When the process dies, and where."""
    chance = np.random.default_rng(50)
    kills: dict[int, Kill] = {}
    for number, slot in enumerate(chance.choice(OUTAGE, 12, replace=False).tolist()):
        kills[slot] = Kill(slot, _POINTS_AWAY[number % 2] if number < 8 else "")
    for number in range(6):
        slot = AFTER.start + number
        kills[slot] = Kill(slot, _POINTS_AFTER[number % 4], count=1 + number)
    # While resets are being recorded: a reset is confirmed by the second reading after it.
    resets = [change.at + 1 for change in truth.changes if not change.is_exchange]
    for number, slot in enumerate([one for one in resets if one not in OUTAGE and one not in AFTER][:6]):
        kills.setdefault(slot, Kill(slot, _POINTS_RESET[number % 2], count=1 + number))
    busy = {change.at + away for change in truth.changes for away in range(-2, 4)} | set(OUTAGE) | set(AFTER)
    quiet = [slot for slot in range(8, SLOTS - 40) if slot not in busy]
    downs = 0
    for slot in chance.permutation(quiet).tolist():
        if len(kills) >= KILLS:
            break
        down = int(chance.integers(2, 9)) if downs < 6 else 0
        if any(slot - 12 <= other <= slot + 12 for other in kills) or (down and busy & set(range(slot, slot + down))):
            continue
        downs += down > 0
        kills[slot] = Kill(slot, _POINTS[slot % 2] if slot % 3 else "", down=down)
    return sorted(kills.values(), key=lambda kill: kill.slot)


async def test_a_month_of_two_thousand_registers(
    issuer: Issuer,
    tmp_path: Path,
    postgres_server: PostgresServer,
    postgres_database_url: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    truth = make_truth(
        2026, START_MS, devices=METERS, slots=SLOTS, exchanges=METERS // 10, resets=METERS // 10,
        silences=METERS // 5, no_change=range(0),
    )  # fmt: skip
    exchanges = sum(change.is_exchange for change in truth.changes)
    kills = kills_of(truth)
    assert (exchanges, len(truth.changes) - exchanges) == (METERS // 10, METERS // 10)
    if (METERS, DAYS) == FULL_SIZE:
        assert (len(kills), exchanges, len(truth.changes) - exchanges) == (KILLS, 20, 20)
        assert {kill.point for kill in kills} == {"", *_POINTS, *_POINTS_AWAY, *_POINTS_AFTER, *_POINTS_RESET}
    imports = [slot for slot in range(DAY, SLOTS, 2 * DAY) if slot not in OUTAGE] + [SLOTS - 2]
    plan = Plan(truth, kills, [OUTAGE], imports)

    def cut(away: bool) -> None:
        (postgres_server.cut_off if away else postgres_server.bring_back)(postgres_database_url)

    soak = Soak(plan, tmp_path, postgres_database_url, issuer, cut)
    tally = await soak.run()
    with capsys.disabled():
        print(f"\n{tally.told(truth)}", flush=True)
    assert tally.wrong == []
    assert tally.kills == len(plan.kills)
    # The rest dies at the end of a slot, or at any moment.
    assert {*_POINTS, *_POINTS_AWAY, "drain.committed", "drain.removed"} <= tally.died_at.keys()
    assert tally.imported > 0
    assert tally.gaps > tally.imported
    assert tally.most_spooled >= len(OUTAGE)
