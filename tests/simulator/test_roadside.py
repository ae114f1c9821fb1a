"""Traffic and rain of a simulated town: invented, believable, and the same for the same seed."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from simulator.roadside import rain_intensity, traffic_flow

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
BERLIN = "Europe/Berlin"


def day(seed: int = 1, begin: datetime = MONDAY) -> list[int]:
    """Counts of every five minutes of a day, local midnight an hour before."""
    return [traffic_flow(seed, "TS-1", BERLIN, (begin + timedelta(minutes=5 * n)).timestamp()) for n in range(288)]


def test_traffic_has_a_quiet_night_and_peaks_and_hangs_on_the_seed_alone() -> None:
    counts = day()
    assert counts == day()
    assert counts != day(seed=2)
    assert all(count >= 0 and count % 12 == 0 for count in counts)  # whole vehicles in five minutes
    small_hours, morning = counts[12:36], counts[75:90]  # 2 to 4 and 7:15 to 8:30 local
    assert sum(small_hours) / len(small_hours) < 40
    assert sum(morning) / len(morning) > 250
    sunday = day(begin=MONDAY - timedelta(days=1))
    assert sum(sunday) < 0.8 * sum(counts)
    assert 2_000 < sum(counts) / 12 < 8_000


def test_it_rains_now_and_then_and_never_from_one_instant_to_the_next() -> None:
    month = [rain_intensity(1, "RS-1", MONDAY.timestamp() + 60 * minute) for minute in range(30 * 1_440)]
    wet = sum(value > 0 for value in month) / len(month)
    assert 0.03 < wet < 0.4
    assert 0 < max(month) < 20
    assert max(abs(after - before) for before, after in pairwise(month)) < 1.0
    assert month[0] == pytest.approx(rain_intensity(1, "RS-1", MONDAY.timestamp()))
    assert month != [rain_intensity(2, "RS-1", MONDAY.timestamp() + 60 * minute) for minute in range(30 * 1_440)]
