"""Findings: what the waste watch has found at a meter, from being raised to its end. Pure; not: the rules themselves.

One finding stands per meter and rule: as long as its rule goes on finding it, it is the same one and grows. It ends by
itself when its rule finds nothing any more in days that are covered, and not while nobody knows. Whoever closes one has
said that it was dealt with or is none: what had begun by then is not raised again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from services.metering.figures.losses import SumCheck, Verdict
from services.metering.figures.stock import StockFinding
from services.metering.meter import SYMBOL, Medium, Unit
from services.metering.reading import Mask
from services.metering.waste.watch import Rule, Waste


class State(IntEnum):
    """State of a finding. The numbers are stored and are those of the contract."""

    OPEN = 1
    ACKNOWLEDGED = 2
    ENDED = 3
    CLOSED = 4


STANDING: Final = (State.OPEN, State.ACKNOWLEDGED)

AVOIDABLE_MICRO_EUR: Final = {
    (Medium.ELECTRICITY, Unit.WH): 250_000,
    (Medium.HEAT, Unit.WH): 110_000,
    (Medium.COLD, Unit.WH): 110_000,
    (Medium.GAS, Unit.WH): 90_000,
    (Medium.GAS, Unit.L): 950_000,
    (Medium.WATER, Unit.L): 4_500_000,
    (Medium.OIL, Unit.L): 1_000_000,
    (Medium.PELLETS, Unit.KG): 300_000,
}
"""What a saved unit is worth where nobody has said it at the meter: millionths of a euro per kWh, cubic metre, litre of
oil or kg. Ours, rounded from what German towns paid in 2024 and 2025 less standing charges; water with its sewage. They
tell how much a finding matters, and are no basis of a bill."""


def cost_cents(excess: int, medium: int, unit: int, price_micro_eur: int) -> int:
    """What an amount in base units costs in cents, rounded; 0 where no price is known. price_micro_eur: the meter's
    own, 0 for the default of its medium."""
    known = {(int(m), int(u)): price for (m, u), price in AVOIDABLE_MICRO_EUR.items()}
    price = price_micro_eur or known.get((medium, unit), 0)
    per_single = unit == Unit.KG or (medium == Medium.OIL and unit == Unit.L)
    divisor = 10_000 if per_single else 10_000_000
    return (max(0, excess) * price + divisor // 2) // divisor


def sentence(waste: Waste, unit: int) -> str:
    """What was seen, in words."""
    rate = "W" if unit == Unit.WH else f"{SYMBOL[Unit(unit)]}/h"
    match waste.rule:
        case Rule.NIGHT_BASE_LOAD_UP:
            return f"the night base load is {waste.seen} {rate}, usual are {waste.usual} {rate}"
        case Rule.WEEKEND_USE:
            return f"on days of rest {waste.seen} {rate} are used by day, at rest it is {waste.usual} {rate}"
        case Rule.WATER_NEVER_STOPS:
            return f"it never stops: {waste.seen} {rate} at least, day and night"
        case Rule.HEATING_IN_WARM_WEATHER:
            symbol = SYMBOL[Unit(unit)]
            return f"{waste.seen} {symbol} on a warm day; hot water and losses explain {waste.usual} {symbol}"
        case Rule.SUM_CHECK:
            symbol = SYMBOL[Unit(unit)]
            more = "less" if waste.seen < waste.usual else "more"
            return f"its sub-meters count {waste.seen} {symbol}, {more} than its own {waste.usual} {symbol}"
        case Rule.STOCK:
            return f"{waste.excess_amount} {SYMBOL[Unit(unit)]} more are in the store than stock and deliveries explain"


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a meter and rule: begin of the finding that stands (None for none), and when a person closed
    the last one (None for never)."""

    start_ms: int | None = None
    closed_ms: int | None = None


class Change(IntEnum):
    """What a look does to a finding."""

    NOTHING = 0
    RAISE = 1
    EXTEND = 2
    END = 3


def judge(standing: Standing, waste: Waste | None, *, is_known: bool) -> Change:
    """What becomes of a meter's finding after a look. is_known: whether the last days are covered well enough for the
    rule to have found something."""
    if standing.start_ms is not None:
        if waste is not None:
            return Change.EXTEND
        return Change.END if is_known else Change.NOTHING
    if waste is None or (standing.closed_ms is not None and waste.start_ms < standing.closed_ms):
        return Change.NOTHING
    return Change.RAISE


SUM_DAYS: Final = 7
SUM_DAYS_OFF: Final = 5
"""Of the last seven days so many have to be off, all in one direction, before a tree of meters is said to be wrong."""


def sum_check(found: SumCheck, since_ms: int | None = None) -> Waste | None:
    """The rule over a main meter's days: losses above the tolerance, or sub-meters that count more than it."""
    for verdict in (Verdict.LOSS, Verdict.SURPLUS):
        off: Mask = found.verdict == verdict
        recent = off[-SUM_DAYS:]
        if recent.sum() < SUM_DAYS_OFF:
            continue
        first = max(0, len(off) - SUM_DAYS)
        rows = off.copy()
        rows[:first] = False
        if since_ms is not None:
            rows = off & (found.starts_ms >= since_ms)
        start_ms = int(found.starts_ms[rows][0]) if since_ms is None else since_ms
        return Waste(
            Rule.SUM_CHECK,
            start_ms,
            int(found.ends_ms[rows][-1]),
            int(abs(found.difference[rows]).sum()),
            int(found.coverage_permille[rows].min()),
            int(found.main[rows].sum()),
            int(found.subs[rows].sum()),
        )
    return None


def stock_check(found: list[StockFinding], after_ms: int) -> Waste | None:
    """The rule over a store: the first time since an instant that more is in it than can be."""
    late = [one for one in found if one.to_ms > after_ms]
    if not late:
        return None
    return Waste(Rule.STOCK, late[0].from_ms, late[-1].to_ms, sum(one.amount for one in late), 1000, 0, 0)
