"""Consumption in energy out of what is stored: gas that is counted in litres by its factors, all else as it is."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from sqlmodel import Session

from domain.errors import FailedPrecondition
from domain.intervals import Consumption
from services.metering.consumption import Step
from services.metering.gas import counts_volume, factors_of, in_energy, naming
from services.metering.meter import Kind, Medium
from services.metering.reading import Int64
from services.metering.store.amounts import Metered
from services.metering.store.figures import Found, from_readings, metered
from services.metering.store.relations import rows_by_uid, terms_of
from services.metering.store.tables import MeterRow
from services.metering.virtual import combined


def is_converted(row: MeterRow) -> bool:
    """True for a meter whose energy may be another figure than its consumption: gas, which counts litres, or did."""
    return row.medium == Medium.GAS


def energy_of(
    session: Session, row: MeterRow, bounds_ms: Int64, step: Step, tz: ZoneInfo, found: Found | None = None
) -> Consumption:
    """Consumption of a gas meter in Wh, registers that count litres and such that count Wh together; of a sum of gas
    meters that of its terms. Raises FailedPrecondition, which names the meter, where a factor is missing."""
    [meter] = metered(session, [row], all_units=True)
    if row.kind == Kind.VIRTUAL:
        terms = terms_of(row)
        rows = rows_by_uid(session, [uid for uid, _ in terms])
        return combined([(sign, energy_of(session, rows[uid], bounds_ms, step, tz, found)) for uid, sign in terms])

    def volume(finer_ms: Int64) -> Consumption:
        return from_readings(session, Metered(row, meter.lives), finer_ms, step, tz, found)

    if not counts_volume(row.medium, meter.lives):
        return volume(bounds_ms)
    try:
        return in_energy(volume, bounds_ms, meter.lives, factors_of(row.gas_factors, tz))
    except FailedPrecondition as error:
        raise naming(error, f"meter {row.meter_id}") from error
