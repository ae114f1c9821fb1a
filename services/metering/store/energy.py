"""Consumption in energy out of what is stored: gas that is counted in litres by its factors, all else as it is.

Factors change at 06:00, kept days (roll-ups) begin at midnight. Where the readings of such a day have been given up by
retention its litres are divided by time, and count as estimated.
"""

from __future__ import annotations

from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from sqlmodel import Session

from domain.errors import FailedPrecondition
from domain.intervals import Consumption, Flag
from domain.night import local_date, local_day_bounds
from services.metering.figures.consumption import Step
from services.metering.figures.gas import counts_volume, factors_of, in_energy, naming, worth_of
from services.metering.figures.rollups import joined
from services.metering.figures.virtual import combined
from services.metering.meter import Kind, Medium
from services.metering.reading import Int64
from services.metering.slot import from_ms, to_ms
from services.metering.store.amounts import Metered, amounts
from services.metering.store.figures import Found, from_readings, general_in, metered
from services.metering.store.limits import limits_of
from services.metering.store.relations import rows_by_uid, terms_of
from services.metering.store.tables import MeterRow

_BY_KEPT_DAYS: Final = (Step.LOCAL_DAY, Step.LOCAL_MONTH, Step.LOCAL_YEAR, Step.TOTAL)


def is_converted(row: MeterRow) -> bool:
    """True for a meter whose energy may be another figure than its consumption: gas, which counts litres, or did."""
    return row.medium == Medium.GAS


def energy_of(
    session: Session, row: MeterRow, bounds_ms: Int64, step: Step, tz: ZoneInfo, found: Found | None = None
) -> Consumption:
    """Consumption of a gas meter in Wh, registers that count litres and such that count Wh together; of a sum of gas
    meters that of its terms. Where `found` wants to know what it rests on, from every reading, else by the shortest
    way. Raises FailedPrecondition, which names the meter, where a factor is missing."""
    [meter] = metered(session, [row], all_units=True)
    if row.kind == Kind.VIRTUAL:
        terms = terms_of(row)
        rows = rows_by_uid(session, [uid for uid, _ in terms])
        parts = [(sign, energy_of(session, rows[uid], bounds_ms, step, tz, found)) for uid, sign in terms]
        with limits_of(row):
            return combined(parts)

    factors, is_volume = factors_of(row.gas_factors, tz), counts_volume(row.medium, meter.lives)

    def volume(finer_ms: Int64) -> Consumption:
        if found is None and meter.is_interval_sure and step in _BY_KEPT_DAYS:
            return _shortest(session, meter, finer_ms, step, tz)
        amount = from_readings(session, meter, finer_ms, step, tz, found)
        if found is not None and is_volume:
            found.rests_on_conversion(factors, {life.uid: worth_of(life).name.lower() for life in meter.lives})
        return amount

    if not is_volume:
        return volume(bounds_ms)
    try:
        with limits_of(row):
            return in_energy(volume, bounds_ms, meter.lives, factors)
    except FailedPrecondition as error:
        raise naming(error, f"meter {row.meter_id}") from error


def _shortest(session: Session, meter: Metered, bounds_ms: Int64, step: Step, tz: ZoneInfo) -> Consumption:
    """Consumption by kept days and months where they answer it. Boundaries may lie anywhere."""
    days = {bound: _day_of(bound, tz) for bound in bounds_ms.tolist()}
    cut = sorted({day_ms for bound, day_ms in days.items() if bound != day_ms[0]})
    inside = [edge for day_ms in cut for edge in day_ms if bounds_ms[0] < edge < bounds_ms[-1]]
    fine = np.unique(np.concatenate((bounds_ms, np.array(inside, np.int64))))
    [part] = amounts(session, [meter], fine, step, tz, general=general_in(tz))
    for day_ms in cut:
        _divide(session, meter, part, day_ms, tz)
    return joined(part, bounds_ms)


def _day_of(instant_ms: int, tz: ZoneInfo) -> tuple[int, int]:
    begin, end = local_day_bounds(local_date(from_ms(instant_ms), tz), tz)
    return to_ms(begin), to_ms(end)


def _divide(session: Session, meter: Metered, part: Consumption, day_ms: tuple[int, int], tz: ZoneInfo) -> None:
    """Fills the pieces of a local day of which no reading is left by what is kept of the whole day."""
    begin, end = day_ms
    pieces = np.flatnonzero((part.starts_ms < end) & (part.ends_ms > begin))
    if len(pieces) < 2 or not bool((part.flag[pieces] == Flag.MISSING).all()):
        return
    whole = np.array([begin, end], np.int64)
    [kept] = amounts(session, [meter], whole, Step.LOCAL_DAY, tz, general=general_in(tz))
    if kept.flag[0] == Flag.MISSING:
        return
    edges = np.concatenate((part.starts_ms[pieces], part.ends_ms[pieces[-1:]])) - begin
    amount = np.diff(int(kept.amount[0]) * np.clip(edges, 0, end - begin) // (end - begin))
    part.amount[pieces], part.estimated_amount[pieces] = amount, amount
    part.flag[pieces] = Flag.ESTIMATED
