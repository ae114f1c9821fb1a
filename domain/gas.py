"""Gas: volumes become energy by dated factors, and the gas day from 06:00. Not: where factors are kept.

energy [Wh] = volume [m3] x state number x calorific value [Wh/m3], DVGW G 685: the state number brings the metered
volume to 0 °C and 1013.25 mbar, the calorific value is the gross one (Hs), as bills have it. All of it in whole
numbers: litres, ten-thousandths, Wh.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import IntEnum
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import ArrayLike, NDArray

from domain.errors import FailedPrecondition, InvalidInput, OutOfLimits, Violation
from domain.night import as_utc, instant_from_unix_ms, local_instant, unix_ms

Ints = NDArray[np.int64]

GAS_DAY_BEGINS: Final = time(6)
"""Local time, in summer and in winter (EU 312/2014: 05:00 UTC in winter, 04:00 UTC in summer)."""

STATE_NUMBER_ONE: Final = 10_000
"""A state number of 1: of a volume that a converter has brought to base conditions already."""

CALORIFIC_VALUES_WH_PER_M3: Final = (1_000, 50_000)
"""From hydrogen (3.5 kWh/m3) to liquefied petroleum gas (28 kWh/m3), with room; natural gas has 8.4 to 13.1."""
STATE_NUMBERS_E4: Final = (1_000, 100_000)
"""From a hut in the mountains (0.8) to a meter on a pressure line of 10 bar, with room."""

_PER_WH: Final = 10_000_000
"""Litres x ten-thousandths x Wh/m3 that make a Wh: 1 000 litres in a m3, 10 000 in a state number of 1."""
_MOST_WH: Final = 2**61
_ONE_DAY: Final = timedelta(days=1)


class Worth(IntEnum):
    """What an amount of gas is."""

    METERED_VOLUME = 1
    """Litres as they flowed: state number and calorific value make energy of them."""
    BASE_VOLUME = 2
    """Litres that a converter has brought to base conditions: the calorific value alone does."""
    ENERGY = 3
    """Wh: they stay what they are."""


@dataclass(frozen=True, slots=True)
class GasFactor:
    """What a volume is worth from a gas day on, until the next factor."""

    valid_from: date
    """The gas day that begins on this date at 06:00 local time."""
    calorific_value_wh_per_m3: int
    """Gross calorific value Hs at base conditions: 11.250 kWh/m3 is 11250."""
    state_number_e4: int
    """State number in ten-thousandths: 0.9634 is 9634."""

    def __post_init__(self) -> None:
        wrong = []
        for field, value, (least, most), hint in (
            (
                "calorific_value_wh_per_m3",
                self.calorific_value_wh_per_m3,
                CALORIFIC_VALUES_WH_PER_M3,
                "11.25 kWh/m3 is 11250",
            ),
            ("state_number_e4", self.state_number_e4, STATE_NUMBERS_E4, "0.9634 is 9634"),
        ):
            if not least <= value <= most:
                wrong.append(Violation(field, f"{value} is not from {least} to {most} ({hint})"))
        if wrong:
            raise InvalidInput(violations=wrong)


class GasFactors:
    """The factors of a meter or a supply area through time."""

    def __init__(self, factors: Sequence[GasFactor], tz: ZoneInfo, field: str = "gas_factors") -> None:
        """Factors in any order, one for a gas day at most. Raises InvalidInput that blames `field`."""
        self.factors: tuple[GasFactor, ...] = tuple(sorted(factors, key=lambda factor: factor.valid_from))
        for before, after in pairwise(self.factors):
            if before.valid_from == after.valid_from:
                raise InvalidInput.of(field, f"two factors are valid from {after.valid_from}")
        self._field = field
        self.tz = tz
        self._begins_ms = [unix_ms(gas_day_bounds(factor.valid_from, tz)[0]) for factor in self.factors]

    def at(self, instant: datetime) -> GasFactor:
        """The factor at an instant. Raises FailedPrecondition where none is known."""
        return self.factors[self._index(unix_ms(instant))]

    def changes_ms(self, start_ms: int, end_ms: int) -> list[int]:
        """Instants within a period, not at its edges, at which another factor begins: Unix ms, ascending."""
        return [begin for begin in self._begins_ms if start_ms < begin < end_ms]

    def energy_wh(self, boundaries_ms: ArrayLike, amounts: ArrayLike, worth: ArrayLike | None = None) -> Ints:
        """Energy of consecutive steps in Wh: n + 1 boundaries (Unix ms, ascending) and n amounts, litres or Wh.

        Exact, and cut down to whole Wh at the boundaries of what has been added up since the first one: the steps add
        up to the energy of the whole, and no step is off by 1 Wh or more. Factors may change at boundaries only: split
        with `changes_ms` first. Amounts may be negative (a sum that was corrected). `worth` says what each amount is,
        a metered volume where it is left out; only volumes need factors.

        Raises InvalidInput, OutOfLimits for an energy that cannot be counted, and FailedPrecondition for a volume in a
        period without a factor.
        """
        bounds, amount = np.asarray(boundaries_ms, dtype=np.int64), np.asarray(amounts, dtype=np.int64)
        if bounds.ndim != 1 or bounds.size < 2 or bool(np.any(np.diff(bounds) <= 0)):
            raise InvalidInput.of("boundaries_ms", "two instants at least are needed, ascending")
        is_of = np.full(bounds.size - 1, Worth.METERED_VOLUME) if worth is None else np.asarray(worth)
        if amount.shape != (bounds.size - 1,) or is_of.shape != amount.shape:
            raise InvalidInput.of("amounts", f"{amount.size} amounts where there are {bounds.size - 1} steps")
        products = self._products(bounds, is_of != Worth.ENERGY)
        products[is_of == Worth.BASE_VOLUME] *= STATE_NUMBER_ONE
        metered = is_of == Worth.METERED_VOLUME
        products[metered] *= self._of_steps(bounds, "state_number_e4")[metered]
        # Whole ten millions of litres first, so that products stay within 64 bits.
        whole, rest = np.divmod(amount, _PER_WH)
        worst = int(np.argmax(np.abs(whole)))
        if abs(int(whole[worst])) * int(products.max()) >= _MOST_WH:
            since = instant_from_unix_ms(int(bounds[worst])).isoformat()
            raise OutOfLimits.of("amounts", f"the energy of {int(amount[worst])} L from {since} on is beyond counting")
        carried = np.cumsum(rest * products % _PER_WH)
        energy: Ints = whole * products + rest * products // _PER_WH + np.diff(carried // _PER_WH, prepend=0)
        return energy

    def _products(self, bounds: Ints, needed: NDArray[np.bool_]) -> Ints:
        """Calorific value of each step that needs one, and what leaves Wh as they are for any other."""
        begins, ends = bounds[:-1], bounds[1:]
        for change in self._begins_ms:
            inside = needed & (begins < change) & (change < ends)
            if bool(inside.any()):
                when = instant_from_unix_ms(change).isoformat()
                raise InvalidInput.of("boundaries_ms", f"the factor changes at {when}, within a step")
        if bool(needed.any()):
            self._index(int(begins[needed][0]))
        return np.where(needed, self._of_steps(bounds, "calorific_value_wh_per_m3"), _PER_WH)

    def _of_steps(self, bounds: Ints, figure: str) -> Ints:
        """A figure of the factor that holds at the begin of each step; the first one's before it."""
        if not self.factors:
            return np.zeros(bounds.size - 1, np.int64)
        places = np.searchsorted(np.array(self._begins_ms, np.int64), bounds[:-1], side="right") - 1
        figures = np.array([getattr(factor, figure) for factor in self.factors], np.int64)
        return figures[np.maximum(places, 0)]

    def _index(self, instant_ms: int) -> int:
        index = bisect_right(self._begins_ms, instant_ms) - 1
        if index >= 0:
            return index
        day = gas_day(instant_from_unix_ms(instant_ms), self.tz)
        first = f"; the first is valid from {self.factors[0].valid_from}" if self.factors else ""
        raise FailedPrecondition.of(
            self._field, f"no calorific value and state number are known for the gas day {day}{first}"
        )


def gas_day(instant: datetime, tz: ZoneInfo) -> date:
    """The gas day an instant lies in: the local date, before 06:00 that of the day before."""
    local = as_utc(instant).astimezone(tz)
    return local.date() if local.time() >= GAS_DAY_BEGINS else local.date() - _ONE_DAY


def gas_day_bounds(day: date, tz: ZoneInfo) -> tuple[datetime, datetime]:
    """A gas day in UTC: from 06:00 local time to 06:00 of the next date.

    It has 23 or 25 hours where the clocks change in its night: the gas day of the Saturday, not of the Sunday.
    """
    return local_instant(day, GAS_DAY_BEGINS, tz), local_instant(day + _ONE_DAY, GAS_DAY_BEGINS, tz)


def gas_month_bounds(year: int, month: int, tz: ZoneInfo) -> tuple[datetime, datetime]:
    """The gas days of a month in UTC: from 06:00 on the first to 06:00 on the first of the next.

    Raises InvalidInput.
    """
    if not 1 <= month <= 12:
        raise InvalidInput.of("month", f"{month} is not a month")
    following = date(year + month // 12, month % 12 + 1, 1)
    return local_instant(date(year, month, 1), GAS_DAY_BEGINS, tz), local_instant(following, GAS_DAY_BEGINS, tz)
