"""Actual energy by levels (option A): what lighting computed per luminaire, as evidence, and what it amounts to. Pure.

For time in which a luminaire's level is not known, its old lamp stands in as if it had burned all that time, until
nothing is left that the luminaire saved: nothing is saved where nothing is known.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from domain.canonical import document, read_document
from domain.errors import InvalidInput
from services.ledger.baseline import MWS_PER_WH, LightingBaseline, exact_sum, round_half_even
from services.ledger.fields import Fields
from services.ledger.saving import Actual

LEVELS_KIND: Final = "lichtbuch.ledger.levels"
LEVELS_SCHEMA: Final = 1
_MWH_PER_WH: Final = 1000
_MWS_PER_MWH: Final = 3600
_MOST_MWH: Final = 10**14
"""10 kW for a thousand years and more: what lies above is no luminaire, and must not overflow."""


@dataclass(frozen=True, slots=True)
class Levels:
    """Energy of luminaires over a period in columns, by their place in the frozen inventory, ascending.

    energies_mwh: 1/1000 Wh, standby included. lit_s: seconds at a level above 0. known_s: seconds of known level.
    estimated: the model's curve is not known.
    """

    start: datetime
    end: datetime
    indexes: tuple[int, ...]
    energies_mwh: tuple[int, ...]
    lit_s: tuple[int, ...]
    known_s: tuple[int, ...]
    estimated: tuple[bool, ...]
    evidence_hash: str

    def __post_init__(self) -> None:
        columns = (self.indexes, self.energies_mwh, self.lit_s, self.known_s, self.estimated)
        if len({len(column) for column in columns}) != 1:
            raise InvalidInput.of("levels", "the columns have different lengths")
        if list(self.indexes) != sorted(set(self.indexes)):
            raise InvalidInput.of("levels.indexes", "they do not ascend")


def levels_bytes(levels: Levels) -> bytes:
    """The canonical bytes of levels."""
    return document(LEVELS_KIND, LEVELS_SCHEMA, {name: getattr(levels, name) for name in Levels.__slots__})


def read_levels(data: bytes) -> Levels:
    """Levels from their bytes. Raises InvalidInput."""
    schema, body = read_document(data, LEVELS_KIND)
    if schema != LEVELS_SCHEMA:
        raise InvalidInput.of("levels.schema", f"version {schema} is not known here")
    fields = Fields(body, "levels")
    levels = Levels(
        start=fields.instant("start"),
        end=fields.instant("end"),
        indexes=fields.integers("indexes"),
        energies_mwh=fields.integers("energies_mwh"),
        lit_s=fields.integers("lit_s"),
        known_s=fields.integers("known_s"),
        estimated=fields.flags("estimated"),
        evidence_hash=fields.text("evidence_hash"),
    )
    fields.done()
    return levels


def levels_actual(levels: Levels, baseline: LightingBaseline) -> Actual:
    """What the levels amount to. Frozen luminaires that do not occur are wholly unknown.

    Raises InvalidInput if a place is not in the inventory, or if nothing at all is known.
    """
    count = len(baseline.lit_s)
    if levels.indexes and levels.indexes[-1] >= count:
        raise InvalidInput.of("levels.indexes", f"the inventory has {count} luminaires only")
    period_s = round((levels.end - levels.start).total_seconds())
    known_s = np.zeros(count, dtype=np.int64)
    known_s[list(levels.indexes)] = np.clip(np.array(levels.known_s, dtype=np.int64), 0, period_s)
    if not known_s.any():
        raise InvalidInput.of("levels", "no level of any luminaire is known in the period")
    energy_mwh = np.zeros(count, dtype=np.int64)
    energy_mwh[list(levels.indexes)] = np.clip(np.array(levels.energies_mwh, dtype=np.int64), 0, _MOST_MWH)
    left_mws = np.maximum(baseline.per_luminaire_mws - energy_mwh * _MWS_PER_MWH, 0)
    stand_in_mws = np.minimum(left_mws, baseline.previous_mw * (period_s - known_s))
    doubtful_mwh = sum(e for e, flag in zip(levels.energies_mwh, levels.estimated, strict=True) if flag)
    return Actual(
        counted_wh=round_half_even(sum(levels.energies_mwh), _MWH_PER_WH),
        estimated_wh=round_half_even(doubtful_mwh, _MWH_PER_WH),
        filled_wh=round_half_even(exact_sum(stand_in_mws), MWS_PER_WH),
        coverage_permille=exact_sum(known_s) * 1000 // (period_s * count),
    )
