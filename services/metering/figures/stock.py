"""Use of oil and pellets from stock and deliveries: stock before + deliveries - stock after = use. Pure.

Stock turned round is a counter: everything delivered so far less what is still there only ever rises, by what is used.
So the arithmetic of counters answers (domain/intervals.py), with straight lines between two looks at the store. Where
that counter steps back, more is in the store than can be: a delivery is missing, or the stock was misread. Then nothing
is known of that time, and the finding says what is missing. A single wrong stock that its neighbours contradict is left
out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from domain.counters import Step
from domain.errors import InvalidInput, OutOfLimits
from domain.intervals import Curve, Life, Register, StepEvent
from services.metering.reading import Int64
from services.metering.slot import slot_text

OFFSET: Final = 2**52
"""Where the counter begins. So high that no step back is taken for a counter that began anew at zero."""


@dataclass(frozen=True, slots=True)
class StockFinding:
    """More in the store than can be. Amount in base units: at least so much was delivered, or the stock is wrong."""

    from_ms: int
    to_ms: int
    step: Step
    amount: int

    @property
    def sentence(self) -> str:
        """What is missing, in words."""
        between = f"between {slot_text(self.from_ms)} and {slot_text(self.to_ms)}"
        if self.step is Step.SPIKE:
            return f"the stock read {between} contradicts those before and after it and is left out"
        return f"a delivery of at least {self.amount} {between} is missing, or the stock was misread"


@dataclass(frozen=True, slots=True)
class StockUse:
    """The counter-like curve of a store, and where it does not add up."""

    curve: Curve
    findings: list[StockFinding]


def stock_use(
    stocks_ms: Int64,
    stocks: Int64,
    deliveries_ms: Int64,
    deliveries: Int64,
    *,
    reading_interval_ms: int,
    noise: int = 0,
    per_unit: int = 1,
    estimated_ms: Int64 | None = None,
) -> StockUse:
    """What was used from a store: instants (Unix ms) and amounts of its stocks and deliveries, each in any order.

    A stock read at the very instant of a delivery is the stock after it. noise: how much a gauge may show more without
    a delivery. Stocks further apart than one and a half of `reading_interval_ms` enclose a gap: its use is conserved
    and estimated in time, as it is around estimated stocks. per_unit: how many of what is given make one base unit, in
    which use and findings are answered. Raises InvalidInput for negative amounts or two stocks of one instant, and
    OutOfLimits for more than a store can hold.
    """
    if stocks.size and int(stocks.min()) < 0:
        raise InvalidInput.of("stock", "a stock is negative")
    if deliveries.size and int(deliveries.min()) <= 0:
        raise InvalidInput.of("delivery", "a delivery brings more than nothing")
    _check_store(stocks_ms, stocks, deliveries_ms, deliveries)
    order, arrived = np.argsort(stocks_ms, kind="stable"), np.argsort(deliveries_ms, kind="stable")
    at = stocks_ms[order]
    delivered = np.concatenate((np.zeros(1, np.int64), np.cumsum(deliveries[arrived], dtype=np.int64)))
    so_far = delivered[np.searchsorted(deliveries_ms[arrived], at, side="right")]
    counter = OFFSET + so_far - stocks[order]
    guessed = np.zeros(0, np.int64) if estimated_ms is None else estimated_ms
    life = Life(at, counter, Register(rollover=0, noise=noise), estimated_ms=guessed)
    curve = Curve([life], reading_interval_ms=reading_interval_ms, per_unit=per_unit)
    odd = [event for event in curve.events if event.step in (Step.BREAK, Step.RESET, Step.SPIKE)]
    return StockUse(curve, [_finding(event, per_unit) for event in odd])


def _check_store(stocks_ms: Int64, stocks: Int64, deliveries_ms: Int64, deliveries: Int64) -> None:
    """Raises OutOfLimits for what would turn the counter round that a store is seen as. No store is that large."""
    # In float64: what is near the limit is over it. Stocks stand each for itself, deliveries add up.
    for at_ms, amounts, together in (
        (stocks_ms, stocks, float(stocks.max(initial=0))),
        (deliveries_ms, deliveries, float(deliveries.astype(np.float64).sum())),
    ):
        if together >= OFFSET // 2:
            worst = int(np.argmax(amounts))
            reason = f"{int(amounts[worst])} at {slot_text(int(at_ms[worst]))} is more than a store can hold"
            raise OutOfLimits.of("amounts", reason)


def _finding(event: StepEvent, per_unit: int) -> StockFinding:
    amount = abs(event.previous - event.current) // per_unit
    return StockFinding(event.from_ms, event.to_ms, event.step, amount)
