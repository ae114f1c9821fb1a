"""Data values as columns: what reads, notifications and histories of OPC UA are decoded into.

Only the columns and their making from values that asyncua has decoded; the fast way from bytes is wire.py's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt
from asyncua import ua

# 100 ns intervals from 1601-01-01 (OPC UA) to 1970-01-01 (Unix).
EPOCH_TICKS: Final = 116_444_736_000_000_000
TICKS_PER_MS: Final = 10_000
_NOT_A_NUMBER: Final = float("nan")
_TEXT_TYPES: Final = frozenset({ua.VariantType.String, ua.VariantType.LocalizedText})


@dataclass(slots=True)
class DataColumns:
    """Data values as columns. `values` NaN where there is no single number (a DateTime is Unix milliseconds),
    `status` the status code, `source_ticks` 100 ns since 1601 (0: none), `texts` by position, `handles` of
    notifications (empty for reads)."""

    values: npt.NDArray[np.float64]
    status: npt.NDArray[np.uint32]
    source_ticks: npt.NDArray[np.int64]
    texts: dict[int, str] = field(default_factory=dict)
    handles: npt.NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, dtype=np.uint32))

    def __len__(self) -> int:
        return len(self.values)

    def take(self, positions: npt.NDArray[np.intp]) -> DataColumns:
        """The rows at these positions, in this order."""
        texts = {}
        if self.texts:
            texts = {at: self.texts[old] for at, old in enumerate(positions.tolist()) if old in self.texts}
        handles = self.handles[positions] if len(self.handles) else self.handles
        return DataColumns(self.values[positions], self.status[positions], self.source_ticks[positions], texts, handles)

    @classmethod
    def joined(cls, parts: Sequence[DataColumns]) -> DataColumns:
        """One out of several, in their order."""
        if len(parts) == 1:
            return parts[0]
        texts: dict[int, str] = {}
        offset = 0
        for part in parts:
            texts.update((offset + position, text) for position, text in part.texts.items())
            offset += len(part)
        return cls(
            np.concatenate([part.values for part in parts]) if parts else np.empty(0),
            np.concatenate([part.status for part in parts]) if parts else np.empty(0, dtype=np.uint32),
            np.concatenate([part.source_ticks for part in parts]) if parts else np.empty(0, dtype=np.int64),
            texts,
            np.concatenate([part.handles for part in parts]) if parts else np.empty(0, dtype=np.uint32),
        )

    @classmethod
    def blank(cls, count: int, status: int) -> DataColumns:
        """Rows without values that all have one status."""
        return cls(np.full(count, np.nan), np.full(count, status, dtype=np.uint32), np.zeros(count, dtype=np.int64))

    @classmethod
    def of(cls, answers: Sequence[ua.DataValue]) -> DataColumns:
        """Columns of values that asyncua has decoded."""
        rows = [plain(answer) for answer in answers]
        columns = cls(
            np.array([row[0] for row in rows], dtype=np.float64),
            np.array([row[1] for row in rows], dtype=np.uint32),
            np.array([row[2] for row in rows], dtype=np.int64),
        )
        columns.texts.update((position, row[3]) for position, row in enumerate(rows) if row[3] is not None)
        return columns


def plain(answer: ua.DataValue) -> tuple[float, int, int, str | None]:
    """Number, status, source ticks and text of a decoded value."""
    status = answer.StatusCode
    stamp = answer.SourceTimestamp
    variant = answer.Value
    value = variant.Value if variant is not None else None
    number, text = _NOT_A_NUMBER, None
    if isinstance(value, float | int):
        number = float(value)
    elif variant is not None and variant.VariantType == ua.VariantType.DateTime and isinstance(value, datetime):
        number = float((ua.datetime_to_win_epoch(value) - EPOCH_TICKS) // TICKS_PER_MS)
    elif variant is not None and variant.VariantType in _TEXT_TYPES and not isinstance(value, list):
        text = getattr(value, "Text", value)
    return (
        number,
        0 if status is None else int(status.value),
        0 if stamp is None else int(ua.datetime_to_win_epoch(stamp)),
        text,
    )
