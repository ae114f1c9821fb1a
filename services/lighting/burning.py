"""Burning hours of a light source: what its drivers report counts before what lighting counted itself. Pure.

Not here: the drivers' counters (swapped.py, store/gears.py), when hours are counted (ageing.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

_HOUR_S: Final = 3600


@dataclass(frozen=True, slots=True)
class Burning:
    """What is known of one light source.

    counted_s: seconds that it was seen lit, until an instant (Unix ms; 0: nothing was counted yet). installed_on: ISO
    date of the light source that this is about, empty where nobody said. reported_s: what the luminaire burned by all
    its drivers, None while none of them said. reported_before_s: of these, those before this light source came in.
    """

    counted_s: int = 0
    counted_until_ms: int = 0
    installed_on: str = ""
    reported_s: int | None = None
    reported_before_s: int = 0

    def hours(self, initial_hours: int) -> int:
        """Full hours. initial_hours: those that the light source had when it was installed; the first driver has them
        in its count."""
        if self.reported_s is None:
            return initial_hours + self.counted_s // _HOUR_S
        before = initial_hours if self.reported_before_s else 0
        return before + max(0, self.reported_s - self.reported_before_s) // _HOUR_S

    def counted(self, lit_s: int, until_ms: int) -> Burning:
        """Lit for some seconds more, until an instant."""
        return replace(self, counted_s=self.counted_s + lit_s, counted_until_ms=until_ms)

    def reported(self, seconds: int) -> Burning:
        """So long the luminaire burned, by its drivers."""
        return replace(self, reported_s=seconds)

    def of(self, installed_on: str, installed_ms: int) -> Burning:
        """The same, or the first of another light source where another date of installation stands: counting begins
        with that day (Unix ms; 0 for no date: with what is known)."""
        if self.installed_on == installed_on and self.counted_until_ms:
            return self
        return Burning(counted_until_ms=installed_ms, installed_on=installed_on, reported_before_s=self.reported_s or 0)
