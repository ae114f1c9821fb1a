"""Sum checks over what is stored: main meters against what is behind them, sum registers against their tariffs.

The rule itself is services/metering/validation/sum_rule.py's; what it is told here are amounts of whole local days.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from sqlmodel import Session

from domain.errors import InvalidInput
from domain.intervals import Consumption
from domain.night import local_date, local_day_bounds
from domain.obis import ObisCode, parse_obis
from services.metering.figures.consumption import Step
from services.metering.figures.load import believable, covered
from services.metering.meter import Kind, Medium
from services.metering.reading import Int64
from services.metering.slot import from_ms, to_ms
from services.metering.store.figures import consumption_of
from services.metering.store.relations import registers_of, sub_meters_of
from services.metering.store.tables import MeterRow
from services.metering.validation.parameters import Parameters
from services.metering.validation.series import RuleFinding
from services.metering.validation.sum_rule import Sums, sum_check
from services.metering.vee import NOISE

MOST_DAYS: Final = 4_000
"""Of a longer span its last eleven years are looked at."""


def check_sums(
    session: Session,
    row: MeterRow,
    span: tuple[int, int],
    tz: ZoneInfo,
    parameters: Parameters,
    seen: Callable[[MeterRow], bool] = lambda part: True,
) -> Iterator[RuleFinding]:
    """Local days within a span (Unix ms, half open) in which a meter and its parts do not add up.

    seen: whether the caller may see a part; the sum of parts of which one is hidden is not told.
    """
    chosen = parameters.of("sum_check", Medium(row.medium).name.lower())
    if not chosen["enabled"] or row.kind == Kind.INSTANT:
        return
    subs = [one for one in sub_meters_of(session, row.uid) if one.kind != Kind.INSTANT and one.unit == row.unit]
    tolerance = row.loss_tolerance_permille or chosen["tolerance_permille"]
    for parts, permille, slack in (
        (subs, tolerance, len(subs) + 1),
        # Each register shows whole counts: tariffs and their sum may be off by one of each.
        (tariffs := tariffs_of(session, row), 0, NOISE * row.transformer_ratio * (len(tariffs) + 1)),
    ):
        if parts and all(seen(part) for part in parts):
            bounds = _days(span, tz)
            if len(bounds) > 1:
                found = consumption_of(session, [row, *parts], bounds, Step.LOCAL_DAY, tz)
                yield from sum_check(_sums(found), permille, slack=slack)


def tariffs_of(session: Session, row: MeterRow) -> list[MeterRow]:
    """The tariff registers (1.8.1, 1.8.2 ...) in the housing of a sum register (1.8.0)."""
    whole = _code(row)
    if row.kind != Kind.COUNTER or whole is None or whole.tariff != 0:
        return []
    found = []
    for other in registers_of(session, row.device_uid or row.uid):
        code = _code(other)
        alike = other.uid != row.uid and (other.unit, other.kind) == (row.unit, row.kind)
        if alike and code is not None and _what(code) == _what(whole) and 1 <= code.tariff <= 63:
            found.append(other)
    return found


def _what(code: ObisCode) -> tuple[int, int, int, int]:
    return int(code.medium), code.channel, code.quantity_code, code.kind_code


def _code(row: MeterRow) -> ObisCode | None:
    try:
        return parse_obis(row.obis_code) if row.obis_code else None
    except InvalidInput:
        return None


def _days(span: tuple[int, int], tz: ZoneInfo) -> Int64:
    """Begins of the local days that lie within a span as a whole, and the end of the last."""
    last = local_date(from_ms(span[1]), tz)
    first = max(local_date(from_ms(span[0]), tz), last - timedelta(days=MOST_DAYS))
    count = (last - first).days + 1
    begins = np.array([to_ms(local_day_bounds(first + timedelta(days=n), tz)[0]) for n in range(count)], np.int64)
    return begins[(begins >= span[0]) & (begins <= span[1])]


def _sums(found: Sequence[Consumption]) -> Sums:
    whole, *parts = (believable(one) for one in found)
    known = np.logical_and.reduce([covered(one) for one in (whole, *parts)])
    return Sums(whole.starts_ms, whole.ends_ms, whole.amount, [part.amount for part in parts], known)
