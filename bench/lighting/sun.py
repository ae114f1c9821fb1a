"""Part 1: sun events of many places on one day, vectorised, beside astral, and beside the converged formula."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
from astral import Observer
from astral.sun import dawn, dusk, sunrise, sunset

from bench.lighting.almanac import events
from bench.report import Report
from bench.timing import compare
from domain.sun import night_events

PART = "1"
PLACES = 100_000
PEER_PLACES = 1_000
CHECKED_PLACES = 20_000
DAY = date(2026, 11, 22)
NOON = datetime(2026, 11, 22, 11, 0, tzinfo=UTC)


def run(report: Report, quick: bool) -> None:
    """Sunset, sunrise, civil dusk and dawn of 100 000 places in Germany; astral does every hundredth of them."""
    places, peer_places, checked = (1_000, 20, 200) if quick else (PLACES, PEER_PLACES, CHECKED_PLACES)
    generator = np.random.default_rng(1)
    latitude, longitude = generator.uniform(47.3, 55.0, places), generator.uniform(5.9, 15.0, places)
    observers = [Observer(lat, lon) for lat, lon in zip(latitude[:peer_places], longitude[:peer_places], strict=True)]

    def ours() -> object:
        return night_events(latitude, longitude, NOON)

    def peer() -> object:
        return [(sunset(o, DAY), sunrise(o, DAY), dusk(o, DAY), dawn(o, DAY)) for o in observers]

    comparison = compare(
        f"four sun events of {places} places", "astral", ours, peer,
        items=places, peer_items=peer_places, runs=1 if quick else 9,
    )  # fmt: skip
    report.compare(PART, comparison, 100)
    report.tell(PART, "furthest from the converged formula, s", furthest_s(latitude[:checked], longitude[:checked]), 1)
    # Further north the events come slower; there, too.
    north = generator.uniform(-60.0, 60.0, checked)
    report.tell(PART, "the same up to 60 degrees, s", furthest_s(north, generator.uniform(-180, 180, checked)), 1)


def furthest_s(latitude_deg: np.ndarray, longitude_deg: np.ndarray) -> float:
    """The largest distance of ours from the converged formula, in seconds, over all four events."""
    found = night_events(latitude_deg, longitude_deg, NOON)
    columns = np.array([found.sunset_s, found.sunrise_s, found.civil_dusk_s, found.civil_dawn_s])
    reference = np.array(
        [
            list(events(float(lat), float(lon), NOON.timestamp()))
            for lat, lon in zip(latitude_deg, longitude_deg, strict=True)
        ]
    )
    return float(np.abs(columns - reference.T).max())
