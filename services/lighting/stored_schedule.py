"""The schedule that a cabinet's controller keeps for the time when nobody commands it: what our plans come to, in its
own terms. Pure.

A controller knows sunset and sunrise with an offset each, for all its feeders, and for each feeder one span of the
night in which it is off. Where a plan is finer than that the lamps stay lit: a feeder is on from the earliest instant
that one of its cabinet's lamps is due to be lit until the latest, and off in its longest dark span between. Orders of
people and sensors are not for days without us. Not here: writing it (schedule_keeping.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from domain.night import lighting_night, night_bounds
from domain.plan import Plan, from_unix_ms, to_unix_ms
from domain.sun import SunEvents, sun_events
from services.lighting.columns import Columns
from services.lighting.records import Orders

_LARGEST_OFFSET_S: Final = 43_200

Span = tuple[int, int]
"""From and until, Unix ms."""


@dataclass(frozen=True, slots=True)
class HalfNight:
    """The span in which a feeder is off: local seconds after midnight."""

    off_s: int
    on_s: int


@dataclass(frozen=True, slots=True)
class StoredSchedule:
    """What the controller is to hold. Offsets in seconds: after sunset and after sunrise, where it reckons the sun for.
    half_nights: by channel, None for a feeder that is on all night."""

    latitude_deg: float
    longitude_deg: float
    on_offset_s: int
    off_offset_s: int
    half_nights: tuple[tuple[int, HalfNight | None], ...]


def schedule_of(columns: Columns, cabinet: int, orders: Orders, now: datetime) -> StoredSchedule | None:
    """The schedule of a cabinet's switched feeders for the night that begins or has begun at the last noon; None where
    the sun gives none, no lamp is due to be lit, or the controller could not hold it."""
    record = columns.inventory.cabinets[cabinet]
    town = columns.inventory.towns[columns.town_of[record.municipality_uid]]
    latitude, longitude = record.latitude_deg, record.longitude_deg
    if np.isnan(latitude) or np.isnan(longitude):
        latitude, longitude = town.latitude_deg, town.longitude_deg
    zone = ZoneInfo(town.time_zone)
    night = lighting_night(now, zone)
    sun = sun_events(latitude, longitude, night)
    if sun.sunset is None or sun.sunrise is None:
        return None
    begin, end = (to_unix_ms(instant) for instant in night_bounds(night, zone))
    lit = {
        int(columns.feeder_channel[feeder]): _lit(columns, feeder, orders, sun, (begin, end))
        for feeder in columns.feeders_by_cabinet[cabinet].tolist()
        if columns.feeder_switched[feeder]
    }
    spans = [span for found in lit.values() for span in found]
    if not spans:
        return None
    on, off = min(s for s, _ in spans), max(e for _, e in spans)
    on_offset_s, off_offset_s = _seconds(on, sun.sunset), _seconds(off, sun.sunrise)
    if max(abs(on_offset_s), abs(off_offset_s)) > _LARGEST_OFFSET_S:
        return None
    halves = ((channel, _half_night(found, (on, off), zone)) for channel, found in sorted(lit.items()))
    return StoredSchedule(latitude, longitude, on_offset_s, off_offset_s, tuple(halves))


def _lit(columns: Columns, feeder: int, orders: Orders, sun: SunEvents, night: Span) -> list[Span]:
    """When a lamp of a feeder is due to be lit, in one night: joined spans, in order."""
    rows = columns.rows_by_feeder[feeder]
    by_sun = [sun.dark()] if sun.dark() is not None else []
    spans: list[Span] = []
    uids = [columns.inventory.groups[g].uid if g >= 0 else "" for g in np.unique(columns.group[rows]).tolist()]
    for plan in (orders.plans.get(uid) for uid in uids or [""]):
        spans += _of_plan(plan, [_span(*dark) for dark in by_sun if dark is not None], night)
    dark = sun.civil_dark()
    if dark is not None and rows.size and bool((_floors(columns, rows, orders, _span(*dark)) > 0).any()):
        spans.append(_span(*dark))  # no plan goes below a floor in the dark
    return _joined(spans, night)


def _of_plan(plan: Plan | None, by_sun: Sequence[Span], night: Span) -> Iterable[Span]:
    """When a group is lit: by its plan, and by the sun where the plan says nothing."""
    if plan is None:
        return by_sun
    planned = [(start, end) for start, end, level in plan.segments() if level > 0]
    before, after = (night[0], plan.valid_from_ms), (plan.valid_until_ms, night[1])
    return planned + [
        (max(s, start), min(e, end)) for s, e in by_sun for start, end in (before, after) if max(s, start) < min(e, end)
    ]


def _floors(columns: Columns, rows: np.ndarray[tuple[int, ...], np.dtype[np.intp]], orders: Orders, dark: Span) -> (
    np.ndarray[tuple[int, ...], np.dtype[np.int16]]
):  # fmt: skip
    """Floors that hold all through the dark; a lamp that cannot be dimmed has one."""
    floor = columns.floor.copy()
    for waiver in orders.waivers:
        if waiver.start_ms <= dark[0] and dark[1] <= waiver.end_ms:
            for target in waiver.targets:
                waived = columns.rows_of_target(target)
                floor[waived] = np.minimum(floor[waived], waiver.floor_permille)
    return np.where(columns.dimmable[rows], floor[rows], 1000).astype(np.int16)


def _joined(spans: Iterable[Span], within: Span) -> list[Span]:
    joined: list[Span] = []
    for start, end in sorted((max(s, within[0]), min(e, within[1])) for s, e in spans):
        if start >= end:
            continue
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined


def _half_night(lit: Sequence[Span], night: Span, zone: ZoneInfo) -> HalfNight | None:
    """The longest dark span of a feeder while others of its cabinet are lit; None for one that is on all along, or is
    not known to be lit at all: on doubt it is."""
    if not lit:
        return None
    edges = [night[0], *(edge for span in lit for edge in span), night[1]]
    gaps = [(edges[i], edges[i + 1]) for i in range(0, len(edges), 2)]
    start, end = max(gaps, key=lambda gap: gap[1] - gap[0])
    return HalfNight(_after_midnight(start, zone), _after_midnight(end, zone)) if end > start else None


def _after_midnight(at_ms: int, zone: ZoneInfo) -> int:
    local = from_unix_ms(at_ms).astimezone(zone)
    return local.hour * 3600 + local.minute * 60 + local.second


def _seconds(at_ms: int, event: datetime) -> int:
    return round((from_unix_ms(at_ms) - event) / timedelta(seconds=1))


def _span(start: datetime, end: datetime) -> Span:
    return to_unix_ms(start), to_unix_ms(end)
