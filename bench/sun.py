"""Sun events of many places on one day: ours, vectorised, against astral, place by place."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
from astral import Observer
from astral.sun import dawn, dusk, sunrise, sunset

from bench.timing import Comparison, compare
from domain.sun import night_events

PLACES = 100_000
PEER_PLACES = 1_000
DAY = date(2026, 11, 22)
NOON = datetime(2026, 11, 22, 11, 0, tzinfo=UTC)


def run() -> list[Comparison]:
    """Sunset, sunrise, civil dusk and dawn for 100 000 places in Germany; astral does every hundredth of them."""
    generator = np.random.default_rng(1)
    latitude, longitude = generator.uniform(47.3, 55.0, PLACES), generator.uniform(5.9, 15.0, PLACES)
    observers = [Observer(lat, lon) for lat, lon in zip(latitude[:PEER_PLACES], longitude[:PEER_PLACES], strict=True)]

    def ours() -> object:
        return night_events(latitude, longitude, NOON)

    def peer() -> object:
        return [(sunset(o, DAY), sunrise(o, DAY), dusk(o, DAY), dawn(o, DAY)) for o in observers]

    return [compare("sun: four events of 100 000 places", "astral", ours, peer, items=PLACES, peer_items=PEER_PLACES)]
