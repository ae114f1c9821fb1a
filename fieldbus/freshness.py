"""Values that are older than a profile allows, or whose time or device stands still, are UNCERTAIN.

The rules are the profile's; the times are the device's own. Values that we have stamped ourselves are never old;
whether their device still works shows in a counter of its own, where the profile names one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from fieldbus.profile import FreshnessRule, Profile
from fieldbus.values import ByteColumn, InstantColumn, PointAddress, Quality, TimeSource, ValueBatch

_KEPT: Final = 64  # lists of points


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


class LiveCounter:
    """A point that moves as long as the device works. When it stands still the registers do, whatever they hold."""

    def __init__(self, rule: FreshnessRule, monotonic: Callable[[], float]) -> None:
        self._address = PointAddress(rule.live_point)
        self._within_s = rule.live_within_s
        self._monotonic = monotonic
        self._value = float("nan")
        self._moved_at: float | None = None
        self._with: dict[tuple[PointAddress, ...], tuple[PointAddress, ...]] = {}

    @classmethod
    def of(cls, profile: Profile, monotonic: Callable[[], float]) -> LiveCounter | None:
        """The counter of a profile, if it names one. `monotonic` gives real seconds."""
        return cls(profile.freshness, monotonic) if profile.freshness.live_point else None

    def beside(self, points: tuple[PointAddress, ...]) -> tuple[PointAddress, ...]:
        """What to read for these points: the counter last. The same tuple every time, as plans are found by it."""
        extended = self._with.get(points)
        if extended is None:
            if len(self._with) >= _KEPT:
                self._with.clear()
            extended = self._with[points] = (*points, self._address)
        return extended

    def judge(self, batch: ValueBatch, points: tuple[PointAddress, ...]) -> ValueBatch:
        """The batch of `beside(points)` without the counter; UNCERTAIN what was GOOD where that has stood still."""
        now = self._monotonic()
        value = float(batch.values[-1])  # NaN where it could not be read, which tells nothing
        if self._moved_at is None or (value != self._value and not np.isnan(value)):
            self._value, self._moved_at = value, now
        quality = batch.quality[:-1].copy()
        if now - self._moved_at > self._within_s:
            _doubt(quality, np.ones(len(quality), dtype=np.bool_))
        return ValueBatch(
            points, batch.values[:-1], quality, batch.observed_at[:-1], batch.time_source[:-1], batch.texts
        )


def _doubt(quality: ByteColumn, rows: npt.NDArray[np.bool_]) -> None:
    """Make the GOOD ones of these rows UNCERTAIN. A column without device times may be shared, and is left alone."""
    if rows.any():
        quality[rows & (quality == Quality.GOOD)] = Quality.UNCERTAIN
