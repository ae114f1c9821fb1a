"""Says of numbers that are more than can be counted whose they are: arithmetic itself knows instants and no meters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from domain.errors import OutOfLimits
from services.metering.store.tables import MeterRow

_FIELD: Final = "meters"


@contextmanager
def limits_of(row: MeterRow) -> Iterator[None]:
    """Makes an OutOfLimits from within one that names the meter, unless a term of it has been named already."""
    try:
        yield
    except OutOfLimits as error:
        if any(one.field == _FIELD for one in error.violations):
            raise
        raise OutOfLimits.of(_FIELD, f"{row.meter_id}: {'; '.join(one.reason for one in error.violations)}") from error
