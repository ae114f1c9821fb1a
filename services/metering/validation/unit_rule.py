"""A break of the unit: the level of a series changes by a factor that units have, and stays there. Pure.

In the Cambridge estates archive, whose gas is said to break its unit between years, the gas of B4 and B58 keeps its
level: no month of 2017 to 2020 differs from its neighbours by such a factor. What does break in B58 is the resolution:
whole units in 2017, tenths from January 2018, whole units again from June 2018 on; the rule tells both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from services.metering.cycle import usual_interval_ms
from services.metering.meter import Kind
from services.metering.reading import Int64
from services.metering.slot import DAY_MS, HOUR_MS
from services.metering.validation.series import RuleFinding, Series, Verdict, limited

Floats = NDArray[np.float64]

FACTORS: Final = (
    (3.6, 3.6, "MJ and kWh, or kWh and MJ"),
    (4.0, 4.0, "kW and kWh of a quarter hour"),
    (10.0, 10.0, "a decimal place, or a current transformer"),
    (100.0, 100.0, "two decimal places"),
    (1000.0, 1000.0, "k and no k: Wh and kWh, litres and cubic metres"),
)
GAS_FACTOR: Final = (10.55, 11.5, "cubic metres and kWh")
"""kWh (gross) in a cubic metre of natural gas, by quality and state."""
_LEAST_SHARE: Final = 0.5
"""Of the days of a window this share needs values."""
_QUANTILES: Final = (0.1, 0.5, 0.9)
_MONTH_MS: Final = 30 * DAY_MS
_LEAST_VALUES: Final = 60
"""Values in a month below which its resolution is chance."""


def unit_break(series: Series, parameters: Mapping[str, int]) -> Verdict:
    """The level changes at once by a factor near one of `FACTORS`, up or down, and stays there; or the resolution does.

    Compared are the `days` before and after a day: the medians of their daily means, and the 10th, 50th and 90th
    percentiles of the amounts, all of which a unit multiplies by the same factor, as no season does. first and last are
    the last slot before and the first after the break. Only reported: a person knows which side is right.
    """
    cycle = series.cycle_ms or usual_interval_ms(series.slot_ms)
    nothing = Verdict.nothing(series)
    if series.kind not in (Kind.COUNTER, Kind.INTERVAL) or not 0 < cycle <= 25 * HOUR_MS or len(series) < 10:
        return nothing
    slot, amount = _amounts(series, cycle)
    found = _levels(slot, amount, series.medium, parameters) if len(slot) else []
    if parameters["resolution"] > 1:
        breaks = [one.last_slot_ms for one in found]
        resolutions = _resolutions(series.slot_ms, series.value, parameters["resolution"])
        # A level that breaks takes the resolution along.
        found += [one for one in resolutions if all(abs(one.last_slot_ms - at) > DAY_MS for at in breaks)]
    return Verdict(limited(found), nothing.doubtful)


def _amounts(series: Series, cycle_ms: int) -> tuple[Int64, Int64]:
    """Amounts that are not zero, and the slots at which their intervals end."""
    if series.kind is Kind.INTERVAL:
        slot, amount = series.slot_ms, series.value
    else:
        regular = np.diff(series.slot_ms) <= cycle_ms
        slot, amount = series.slot_ms[1:][regular], np.diff(series.value)[regular]
    flowing = amount > 0
    return slot[flowing], amount[flowing]


def _levels(slot: Int64, amount: Int64, medium: str, parameters: Mapping[str, int]) -> list[RuleFinding]:
    day = (slot - 1) // DAY_MS
    first_day, width = int(day[0]), parameters["days"]
    count = int(day[-1]) - first_day + 1
    if count < 2 * width:
        return []
    number = np.bincount(day - first_day, minlength=count)
    mean = np.bincount(day - first_day, weights=amount, minlength=count) / np.maximum(number, 1)
    mean[number == 0] = np.nan
    median, known = _window_medians(mean, width)
    before, after = median[: count - 2 * width + 1], median[width:]
    enough = (known[: count - 2 * width + 1] >= width * _LEAST_SHARE) & (known[width:] >= width * _LEAST_SHARE)
    ratio = np.where(enough, after / before, 1.0)
    factors = [*FACTORS, *([GAS_FACTOR] if medium == "gas" else [])]
    slack = 1 + parameters["tolerance_permille"] / 1000
    near = np.zeros(len(ratio), np.bool_)
    for low, high, _ in factors:
        near |= (ratio >= low / slack) & (ratio <= high * slack)
        near |= (ratio <= slack / low) & (ratio >= 1 / (high * slack))
    found: list[RuleFinding] = []
    taken = -1
    for place in np.flatnonzero(near).tolist():
        if place <= taken:
            continue
        # All days around a break look like it: the sharpest is the one.
        stretch = np.flatnonzero(near[place : place + 2 * width]) + place
        sharpest = int(stretch[np.argmax([_sharpness(mean, int(one) + width) for one in stretch])])
        taken = int(stretch[-1])
        boundary = first_day + sharpest + width
        finding = _confirmed(slot, amount, boundary, parameters, factors)
        if finding is not None:
            found.append(finding)
    return found


def _window_medians(mean: Floats, width: int) -> tuple[Floats, Int64]:
    """Median of the known days of each window of days, and how many are known."""
    table = np.sort(sliding_window_view(mean, width), axis=1)
    known = np.count_nonzero(~np.isnan(table), axis=1)
    median: Floats = table[np.arange(len(table)), np.maximum(known - 1, 0) // 2]
    return median, known


def _sharpness(mean: Floats, boundary: int) -> float:
    """How much the three known days on both sides differ, as a logarithm."""
    before, after = mean[max(0, boundary - 7) : boundary], mean[boundary : boundary + 7]
    before, after = before[~np.isnan(before)][-3:], after[~np.isnan(after)][:3]
    return abs(float(np.log(after.mean() / before.mean()))) if len(before) and len(after) else 0.0


def _confirmed(
    slot: Int64, amount: Int64, day: int, parameters: Mapping[str, int], factors: list[tuple[float, float, str]]
) -> RuleFinding | None:
    """The break at a day, if every quantile changes by the same factor, and that one is known."""
    at_ms, width = day * DAY_MS, parameters["days"] * DAY_MS
    place = int(np.searchsorted(slot, at_ms, "right"))
    before = amount[int(np.searchsorted(slot, at_ms - width, "right")) : place]
    after = amount[place : int(np.searchsorted(slot, at_ms + width, "right"))]
    if not len(before) or not len(after):
        return None
    ratios = np.quantile(after, _QUANTILES) / np.quantile(before, _QUANTILES)
    factor = float(ratios[1])
    slack = 1 + parameters["tolerance_permille"] / 1000
    if bool((np.abs(np.log(ratios / factor)) > 2 * np.log(slack)).any()):
        return None
    size = max(factor, 1 / factor)
    # The nearest known factor, of those that are near enough.
    near = [(max(low / size, size / high, 1.0), text) for low, high, text in factors]
    distance, meaning = min(near)
    if distance > slack:
        return None
    way = "rises" if factor > 1 else "falls"
    detail = f"the level {way} by a factor of {size:.4g} and stays there: {meaning}?"
    return RuleFinding("unit_break", int(slot[place - 1]), int(slot[place]), 1, detail)


def _resolutions(slot: Int64, value: Int64, least: int) -> list[RuleFinding]:
    flowing = value != 0
    slot, value = slot[flowing], value[flowing]
    if not len(slot):
        return []
    month = slot // _MONTH_MS
    starts = np.flatnonzero(np.r_[True, month[1:] != month[:-1]])
    sizes = np.diff(np.r_[starts, len(slot)])
    steps = np.gcd.reduceat(value, starts)
    starts, steps = starts[sizes >= _LEAST_VALUES], steps[sizes >= _LEAST_VALUES]
    found: list[RuleFinding] = []
    for number in range(2, len(steps) - 1):
        old, new = int(steps[number - 1]), int(steps[number])
        # It has to hold for two months on each side.
        lasting = int(steps[number - 2]) % old == 0 and int(steps[number + 1]) % new == 0 and old != new
        if not lasting or max(old, new) < least * min(old, new) or max(old, new) % min(old, new):
            continue
        coarse = max(old, new)
        begin, end = int(starts[number - 1]), int(starts[number + 1])
        fine = np.flatnonzero(value[begin:end] % coarse != 0) + begin
        place = int(fine[0]) if new < old else int(fine[-1]) + 1
        detail = f"values are multiples of {old} before and of {new} after: another source or unit?"
        found.append(RuleFinding("unit_break", int(slot[place - 1]), int(slot[place]), 1, detail))
    return found
