"""Gas in energy: what litres of a gas meter were worth, by its dated factors. Pure; the rule is domain/gas.py's.

A register may count as it flows, at base conditions behind a converter (OBIS 7-0:3.2.0, 7-0:13.2.0), or deliver Wh; an
exchange may bring another kind. Each life is taken as what it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import date
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from domain.errors import FailedPrecondition, InvalidInput
from domain.gas import GasFactor, GasFactors, Worth
from domain.intervals import Consumption, Flag
from domain.obis import ObisMedium, parse_obis
from services.metering.figures.rollups import joined
from services.metering.life import RegisterLife
from services.metering.meter import Medium, Unit
from services.metering.reading import Int64

FIELD: Final = "gas_factors"


def factors_of(stored: str, tz: ZoneInfo) -> GasFactors:
    """The factors of a meter's row (JSON: gas day, Wh per m3, ten-thousandths each)."""
    return GasFactors(
        [GasFactor(date.fromisoformat(day), value, state) for day, value, state in json.loads(stored)], tz
    )


def counts_volume(medium: int, lives: Sequence[RegisterLife]) -> bool:
    """True for a gas meter of which any register counts litres: its energy is another figure than its amount."""
    return medium == Medium.GAS and any(life.unit == Unit.L for life in lives)


def in_energy(
    volume: Callable[[Int64], Consumption], bounds_ms: Int64, lives: Sequence[RegisterLife], factors: GasFactors
) -> Consumption:
    """Consumption of a gas meter in Wh between boundaries.

    volume: its consumption in the units of its registers between any boundaries. It is asked for finer ones where
    factors or registers change. Raises FailedPrecondition, which blames gas_factors, for gas from before any factor.
    """
    first, last = int(bounds_ms[0]), int(bounds_ms[-1])
    edges = {edge for life in lives for edge in (life.begin_ms, life.end_ms) if first < edge < last}
    fine = np.unique(np.concatenate((bounds_ms, np.array([*factors.changes_ms(first, last), *edges], np.int64))))
    found = volume(fine.astype(np.int64))
    worth = _worth(found, lives)
    amount = factors.energy_wh(fine, found.amount, worth)
    estimated = np.minimum(factors.energy_wh(fine, found.estimated_amount, worth), amount)
    whole = Consumption(found.starts_ms, found.ends_ms, amount, estimated, found.measured_ms, found.flag)
    return joined(whole, bounds_ms)


def worth_of(life: RegisterLife) -> Worth:
    """What a register of a gas meter counts."""
    if life.unit == Unit.WH:
        return Worth.ENERGY
    return Worth.BASE_VOLUME if _is_at_base(life) else Worth.METERED_VOLUME


def naming(error: FailedPrecondition, meter: str) -> FailedPrecondition:
    """The same refusal, saying of which meter it is."""
    reasons = [f"{meter}: {violation.reason}" for violation in error.violations]
    return FailedPrecondition.of(FIELD, "; ".join(reasons))


def _worth(found: Consumption, lives: Sequence[RegisterLife]) -> Int64:
    """What the amount of each step is. Where nothing is known nothing has to be converted."""
    worth = np.full(found.amount.shape, Worth.METERED_VOLUME, np.int64)
    for life in lives:
        worth[(found.starts_ms >= life.begin_ms) & (found.starts_ms < life.end_ms)] = worth_of(life)
    worth[(found.flag == Flag.MISSING) & (found.amount == 0)] = Worth.ENERGY
    return worth


def _is_at_base(life: RegisterLife) -> bool:
    if not life.obis_code:
        return False
    try:
        return parse_obis(life.obis_code, medium=ObisMedium.GAS).is_at_base_conditions
    except InvalidInput:
        return False
