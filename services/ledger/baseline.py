"""What would have been used without the measure: by the lamps of before, or by a building as stated. Pure.

Lighting. Every frozen luminaire burned from sunset to sunrise at its place (domain.sun; the sun's centre at -0.833
degrees) with its lamp and ballast watts; half-night luminaires were off from one clock time to another, or to the next
dusk. Sunset and sunrise are rounded to whole seconds and watts to whole milliwatts, so that all that follows are
integers (milliwatt-seconds), rounded once, to whole Wh, half to even. The full-level reference is the rated power of
what stands there now over the same lit time: a figure to compare with, never a baseline.

Stated. The use per local day of the month and kind of day; a day that lies in the period only in part counts by the
share of its seconds, so that the day of 23 hours and the one of 25 come out right.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from fractions import Fraction
from functools import cached_property
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from domain.errors import InvalidInput
from domain.night import dates_between, local_date, local_day_bounds, local_instant, night_bounds, nights_between
from domain.sun import night_events
from services.ledger.terms import LightingTerms, StatedTerms

MWS_PER_WH: Final = 3_600_000
"""Milliwatt-seconds in a watt-hour."""

_NOON: Final = time(12)
_SATURDAY: Final = 5

Seconds = NDArray[np.int64]


def round_half_even(amount: Fraction | int, unit: int = 1) -> int:
    """An amount in whole units, halves to the even neighbour."""
    return round(Fraction(amount) / unit)


@dataclass(frozen=True)
class LightingBaseline:
    """Baseline of lighting over a period, per frozen luminaire, in the order of the inventory.

    lit_s: seconds for which it would have burned. dark_s: seconds from sunset to sunrise. Powers in milliwatts.
    """

    lit_s: Seconds
    dark_s: Seconds
    previous_mw: Seconds
    rated_mw: Seconds

    @cached_property
    def per_luminaire_mws(self) -> Seconds:
        """Baseline energy of each luminaire in mWs."""
        return self.lit_s * self.previous_mw

    @property
    def baseline_mws(self) -> int:
        """Baseline energy of all luminaires in mWs."""
        return exact_sum(self.per_luminaire_mws)

    @property
    def baseline_wh(self) -> int:
        """Baseline energy of all luminaires in Wh."""
        return round_half_even(self.baseline_mws, MWS_PER_WH)

    @property
    def full_level_reference_wh(self) -> int:
        """Rated power from sunset to sunrise, in Wh."""
        return round_half_even(exact_sum(self.dark_s * self.rated_mw), MWS_PER_WH)


def lighting_baseline(terms: LightingTerms, tz: ZoneInfo, start: datetime, end: datetime) -> LightingBaseline:
    """Baseline of the frozen luminaires from `start` to `end` (exclusive). Whole lighting nights or parts of them."""
    inventory = terms.inventory
    latitudes = np.array(inventory.latitudes_e7, dtype=np.float64) / 1e7
    longitudes = np.array(inventory.longitudes_e7, dtype=np.float64) / 1e7
    half_night = np.array(inventory.half_night, dtype=np.bool_)
    lit, dark = (np.zeros(len(inventory), dtype=np.int64) for _ in range(2))
    for night in nights_between(start, end, tz):
        noon, next_noon = night_bounds(night, tz)
        dusk, dawn = (_whole_seconds(t) for t in night_events(latitudes, longitudes, noon).dark_s())
        first, last = _unix_s(max(start, noon)), _unix_s(min(end, next_noon))
        dusk, dawn = np.clip(dusk, first, last), np.clip(dawn, first, last)
        dark += dawn - dusk
        off, on = half_night_pause(terms.half_night_off, terms.half_night_on, night, tz)
        pause = np.maximum(0, np.minimum(dawn, _unix_s(on)) - np.maximum(dusk, _unix_s(off)))
        lit += dawn - dusk - np.where(half_night, pause, 0)
    return LightingBaseline(
        lit_s=lit,
        dark_s=dark,
        previous_mw=np.array(inventory.previous_mw, dtype=np.int64),
        rated_mw=np.array(inventory.rated_mw, dtype=np.int64),
    )


def half_night_pause(off: str, on: str, night: date, tz: ZoneInfo) -> tuple[datetime, datetime]:
    """When half-night lamps were off in a lighting night, in UTC; without `on` until its end. Raises InvalidInput."""
    check_half_night(off, on)
    first = _at_clock(off, "half_night_off", night, tz)
    last = _at_clock(on, "half_night_on", night, tz) if on else night_bounds(night, tz)[1]
    return first, last


def check_half_night(off: str, on: str) -> None:
    """Raises InvalidInput unless both are "HH:MM" (`on` may be empty) and `on` follows `off` between noon and noon."""
    first = clock_time(off, "half_night_off")
    if not on:
        return
    last = clock_time(on, "half_night_on")
    if (first < _NOON, first) >= (last < _NOON, last):
        raise InvalidInput.of("half_night_on", f"{on} does not follow {off} between noon and noon")


def stated_baseline_wh(terms: StatedTerms, tz: ZoneInfo, start: datetime, end: datetime) -> Fraction:
    """Stated use from `start` to `end` (exclusive) in Wh, not yet rounded."""
    total = Fraction(0)
    if end <= start:
        return total
    last = local_date(end - timedelta(microseconds=1), tz)
    for day in dates_between(local_date(start, tz), last + timedelta(days=1)):
        midnight, next_midnight = local_day_bounds(day, tz)
        inside = min(end, next_midnight) - max(start, midnight)
        values = terms.weekend_wh if day.weekday() >= _SATURDAY else terms.weekday_wh
        microsecond = timedelta(microseconds=1)
        total += Fraction(values[day.month - 1]) * (inside // microsecond) / ((next_midnight - midnight) // microsecond)
    return total


def clock_time(text: str, field: str) -> time:
    """A clock time "HH:MM". Raises InvalidInput that blames `field`."""
    try:
        hours, minutes = text.split(":")
        if len(hours) != 2 or len(minutes) != 2:
            raise ValueError
        return time(int(hours), int(minutes))
    except ValueError:
        raise InvalidInput.of(field, f"{text!r} is not a clock time HH:MM") from None


def exact_sum(values: Seconds) -> int:
    """Sum without a limit of 64 bits: a big town over years of nights would pass it."""
    return sum(values.tolist())


def _at_clock(text: str, field: str, night: date, tz: ZoneInfo) -> datetime:
    """The instant of a clock time within a lighting night: in the afternoon on its date, before noon on the next."""
    wall = clock_time(text, field)
    return local_instant(night if wall >= _NOON else night + timedelta(days=1), wall, tz)


def _whole_seconds(unix_s: NDArray[np.float64]) -> Seconds:
    """Nearest whole Unix seconds. A night without darkness has neither dusk nor dawn: both become the same instant."""
    return np.rint(np.nan_to_num(unix_s, nan=0.0)).astype(np.int64)


def _unix_s(instant: datetime) -> int:
    return round(instant.timestamp())
