"""Rules about single values and steps: digits, steps back, spikes. Pure.

They are those of services/metering/vee.py, which judges one reading after the other, for whole series and for series
that are no counters. What they find is to be in doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from services.metering.cycle import usual_interval_ms
from services.metering.meter import Kind
from services.metering.reading import Int64, Mask
from services.metering.slot import HOUR_MS
from services.metering.validation.series import (
    RuleFinding,
    Series,
    Verdict,
    in_runs,
    limited,
    runs,
)


def digits(series: Series, parameters: Mapping[str, int]) -> Verdict:
    """A counter with more digits than its register, or below zero."""
    if series.kind is not Kind.COUNTER:
        return Verdict.nothing(series)
    wrong = series.value < 0
    if series.rollover:
        wrong |= series.value >= series.rollover
    return _doubting(series, "digits", wrong, lambda row: f"the register cannot show {int(series.value[row])}")


def negative_step(series: Series, parameters: Mapping[str, int]) -> Verdict:
    """A counter that falls by more than noise and did not roll over; an amount below zero.

    In doubt is every reading below the last good one until the counter has come back up to it. One that never does was
    reset or exchanged: all stays in doubt until that is recorded. Where no spike is doubted, one reading above both
    neighbours is in doubt itself, and nothing after it.
    """
    if series.kind is Kind.INTERVAL:
        wrong = series.value < 0
        return _doubting(series, "negative_step", wrong, lambda row: f"the amount is {int(series.value[row])}")
    if series.doubts_spikes:
        return _falling(series, "negative_step", is_noise=False)  # the rule of spikes has taken out what is one
    return _falling_from_what_is_right(series)


def small_step_back(series: Series, parameters: Mapping[str, int]) -> Verdict:
    """A counter that falls by no more than its noise: one count, or what a meter that saves now and then may lose."""
    return _falling(series, "small_step_back", is_noise=True)


def spike(series: Series, parameters: Mapping[str, int]) -> Verdict:
    """More than can have been: a step or an amount above connected load or largest flow, a value that stands alone.

    The largest flow is believed up to `margin_permille`, and a counter may be read `lateness_s` late; of a counter both
    are the series' own, since falls and single steps are judged by them, too. Where the flow is not known: of a counter
    one reading above both neighbours; of intervals an amount above `times_usual` times the 99th percentile of what is
    not zero. Of a sensor one value further than `jump` from both neighbours, on the same side.
    """
    if series.kind is Kind.COUNTER:
        return _counter_spike(series)
    if series.kind is Kind.INTERVAL:
        return _amount_spike(series, parameters)
    if series.kind is Kind.INSTANT:
        return _lonely(series, parameters["jump"])
    return Verdict.nothing(series)


def _doubting(series: Series, rule: str, rows: Mask, detail: Callable[[int], str]) -> Verdict:
    starts, ends = runs(rows)
    found = [
        RuleFinding(rule, int(series.slot_ms[start]), int(series.slot_ms[end - 1]), end - start, detail(start), True)
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    ]
    return Verdict(limited(found), rows)


class _Fall(NamedTuple):
    """Readings from `start` to before `end` lie below the one at `base`."""

    base: int
    start: int
    end: int


def _falling(series: Series, rule: str, *, is_noise: bool) -> Verdict:
    if series.kind is not Kind.COUNTER:
        return Verdict.nothing(series)
    falls = [fall for fall in _falls(series) if _is_noise(series, fall) is is_noise]
    starts, ends = (np.array(edge, np.int64) for edge in ([f.start for f in falls], [f.end for f in falls]))
    found = []
    for base, start, end in falls:
        detail = f"from {int(series.value[base])} back to {int(series.value[start])}"
        if end == len(series) and end - start > 1 and not is_noise:
            detail += ", and not up again: a reset, or an exchange that nobody recorded"
        first, last = int(series.slot_ms[start]), int(series.slot_ms[end - 1])
        found.append(RuleFinding(rule, first, last, end - start, detail, True))
    return Verdict(limited(found), in_runs(starts, ends, len(series)))


def _falling_from_what_is_right(series: Series) -> Verdict:
    """Falls, of one reading above both neighbours the fall that proves it wrong."""
    alone = _alone(series)
    wrong = _doubting(series, "negative_step", alone, lambda row: f"{int(series.value[row])} is above both neighbours")
    falls = _falling(series.of_rows(~alone), "negative_step", is_noise=False)
    alone[np.flatnonzero(~alone)[falls.doubtful]] = True
    return Verdict(limited([*wrong.findings, *falls.findings]), alone)


def _is_noise(series: Series, fall: _Fall) -> bool:
    before, after = int(series.value[fall.base]), int(series.value[fall.start])
    return before - after <= series.noise and after * 2 >= before


def _falls(series: Series) -> Iterator[_Fall]:
    value = series.value
    down = np.flatnonzero(value[1:] < value[:-1]) + 1
    seen = 0
    for start in down.tolist():
        if start <= seen or _rolled_over(series, start - 1, start):
            continue
        base = start - 1
        level = value[base]
        end = _first(start, len(value), lambda piece, level=level: value[piece] >= level)  # type: ignore[misc]
        # What rolled over after a small step back has come up again as well.
        over = [row for row in down[(down > start) & (down < end)].tolist() if _rolled_over(series, base, row)]
        end = over[0] if over else end
        seen = end
        yield _Fall(base, start, end)


def _rolled_over(series: Series, before: int, after: int) -> bool:
    if not series.rollover:
        return False
    forward = int(series.value[after]) + series.rollover - int(series.value[before])
    elapsed = int(series.slot_ms[after] - series.slot_ms[before])
    most = series.rollover * series.rollover_permille // 1000
    if series.most_per_h:
        most = int(_most(series, np.array([elapsed]))[0])
    return forward <= min(most, series.rollover // 2)


def _first(start: int, end: int, holds: Callable[[slice], Mask]) -> int:
    """First row from `start` on for which something holds; `end` if none. Looks at ever larger pieces."""
    width = 64
    while start < end:
        piece = slice(start, min(end, start + width))
        mask = holds(piece)
        if bool(mask.any()):
            return start + int(np.argmax(mask))
        start, width = piece.stop, width * 4
    return end


def _most(series: Series, elapsed_ms: Int64) -> Int64:
    """Most that is believed in spans of time, a reading's lateness included."""
    most = series.most_per_h * (series.margin_permille / 1000) * (elapsed_ms + series.lateness_ms) / HOUR_MS
    return np.minimum(most + 1, 2.0**62).astype(np.int64)


def _alone(series: Series) -> Mask:
    """Readings of a counter above both neighbours, of which the later goes on from the earlier, as the load allows."""
    value, slot = series.value, series.slot_ms
    rows = np.zeros(len(series), np.bool_)
    if len(series) < 3:
        return rows
    above, back = value[1:-1] > value[2:] + series.noise, value[2:] >= value[:-2]
    rows[1:-1] = above & back & (value[1:-1] > value[:-2])
    if series.most_per_h:
        rows[1:-1] &= value[2:] - value[:-2] <= _most(series, slot[2:] - slot[:-2])
        # Only a load that is known can tell a register that rolls over within two readings.
        for row in np.flatnonzero(rows).tolist():
            rows[row] = not _rolled_over(series, row, row + 1)
    return rows


def _counter_spike(series: Series) -> Verdict:
    value, slot = series.value, series.slot_ms
    rows = np.zeros(len(series), np.bool_)
    if len(series) < 2:
        return Verdict(limited([]), rows)
    if not series.most_per_h:
        return _doubting(series, "spike", _alone(series), lambda row: f"{int(value[row])} is above both neighbours")
    bases: dict[int, int] = {}
    for base, start, end in _implausible(series):
        above = np.arange(start, end)[value[start:end] > value[base]]
        rows[above] = True
        bases.update(dict.fromkeys(above.tolist(), base))

    def detail(row: int) -> str:
        base = bases[row]
        step, hours = int(value[row] - value[base]), int(slot[row] - slot[base]) / HOUR_MS
        return f"{step} in {hours:.3g} h, where at most {series.most_per_h} flow in an hour"

    return _doubting(series, "spike", rows, detail)


def _implausible(series: Series) -> Iterator[_Fall]:
    """Stretches of readings that the last good one before them cannot have led to: above what can flow, or below it.

    Falls are among them, because what comes after a dip is to be compared with what was before it.
    """
    value, slot = series.value, series.slot_ms
    step = np.diff(value)
    odd = np.flatnonzero((step < 0) | (step > _most(series, np.diff(slot)))) + 1
    seen = 0
    for start in odd.tolist():
        base = start - 1
        if start <= seen or (value[start] < value[base] and _rolled_over(series, base, start)):
            continue
        level, at = int(value[base]), int(slot[base])

        def plausible(piece: slice, level: int = level, at: int = at) -> Mask:
            most = _most(series, slot[piece] - at)
            amount = value[piece] - level
            holds: Mask = (amount >= 0) & (amount <= most)
            if series.rollover:
                holds |= (amount < 0) & (amount + series.rollover <= np.minimum(most, series.rollover // 2))
            return holds

        seen = _first(start, len(value), plausible)
        yield _Fall(base, start, seen)


def _amount_spike(series: Series, parameters: Mapping[str, int]) -> Verdict:
    cycle = series.cycle_ms or usual_interval_ms(series.slot_ms)
    if series.most_per_h and cycle:
        most = int(series.most_per_h * parameters["margin_permille"] / 1000 * cycle / HOUR_MS) + 1
        reason = f"more than {most}, the most that can flow"
    else:
        flowing = series.value[series.value > 0]
        if not parameters["times_usual"] or len(flowing) < 100:
            return Verdict.nothing(series)
        usual = int(np.percentile(flowing, 99))
        most = max(1, usual) * parameters["times_usual"]
        reason = f"more than {parameters['times_usual']} times what it hardly ever exceeds ({usual})"
    return _doubting(series, "spike", series.value > most, lambda row: f"{int(series.value[row])} is {reason}")


def _lonely(series: Series, jump: int) -> Verdict:
    if not jump or len(series) < 3:
        return Verdict.nothing(series)
    far = int(jump * 10 ** (-series.scale_exponent)) if series.scale_exponent <= 0 else 1
    step = np.diff(series.value)
    rows = np.zeros(len(series), np.bool_)
    rows[1:-1] = (np.abs(step[:-1]) > far) & (np.abs(step[1:]) > far) & ((step[:-1] > 0) != (step[1:] > 0))
    return _doubting(series, "spike", rows, lambda row: f"{int(series.value[row])} stands alone among its neighbours")
