"""Values that are older than a profile allows, or whose time stands still, are UNCERTAIN.

The rules are the profile's; the times are the device's own. Values that we have stamped ourselves are never old.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fieldbus.profile import Profile
from fieldbus.values import ByteColumn, InstantColumn, Quality, TimeSource, ValueBatch


@dataclass(slots=True)
class Freshness:
    """The rules of one profile, and the times last seen of one list of points."""

    max_age_ms: float | None
    frozen_after: int
    _last: InstantColumn
    _same: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    @classmethod
    def of(cls, profile: Profile, count: int) -> Freshness:
        """For `count` rows; nothing has been seen yet."""
        ages = [age for age in (profile.freshness.max_age_s, profile.opcua.max_age_s) if age is not None]
        return cls(
            min(ages) * 1000 if ages else None,
            profile.freshness.frozen_after,
            np.full(count, -1, dtype=np.int64),
            np.zeros(count, dtype=np.int64),
        )

    def check_age(self, quality: ByteColumn, observed_at: InstantColumn, source: ByteColumn, now_ms: int) -> None:
        """Make GOOD values UNCERTAIN that are older than allowed, in place.

        So far ahead of us they are no better: by a clock that is wrong nobody can tell how old they are.
        """
        if self.max_age_ms is None:
            return
        stale = (source == TimeSource.DEVICE) & (np.abs(now_ms - observed_at) > self.max_age_ms)
        _doubt(quality, stale)

    def check_frozen(self, batch: ValueBatch) -> None:
        """Make GOOD values UNCERTAIN whose device time has not moved for too many readings in a row, in place.

        For whole readings only: a notification comes because something moved.
        """
        if not self.frozen_after:
            return
        came = (batch.quality <= Quality.UNCERTAIN) & (batch.time_source == TimeSource.DEVICE)
        still = came & (batch.observed_at == self._last)
        self._same = np.where(still, self._same + 1, np.where(came, 0, self._same))
        self._last = np.where(came, batch.observed_at, self._last)
        frozen = came & (self._same >= self.frozen_after)
        _doubt(batch.quality, frozen)


def _doubt(quality: ByteColumn, rows: npt.NDArray[np.bool_]) -> None:
    """Make the GOOD ones of these rows UNCERTAIN. A column without device times may be shared, and is left alone."""
    if rows.any():
        quality[rows & (quality == Quality.GOOD)] = Quality.UNCERTAIN
