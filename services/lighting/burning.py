"""Burning hours of a light source: what its gear reports counts before what lighting counted itself. Pure.

Not here: reading them in the field (burning_reading.py), when they are counted (ageing.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

_HOUR_S: Final = 3600
_LEAST_FALL_S: Final = 24 * _HOUR_S
"""A report that is less by fewer seconds is the same gear, which keeps its count now and then only."""


@dataclass(frozen=True, slots=True)
class Burning:
    """What is known of one light source.

    counted_s: seconds that it was seen lit, until an instant (Unix ms; 0: nothing was counted yet). installed_on: ISO
    date of the light source that this is about, empty where nobody said. reported_s: what its gear said last, None for
    never. carried_s: what gear reported that was swapped since, while the light source stayed.
    """

    counted_s: int = 0
    counted_until_ms: int = 0
    installed_on: str = ""
    reported_s: int | None = None
    carried_s: int = 0

    def hours(self, initial_hours: int) -> int:
        """Full hours. initial_hours: those that the light source had when it was installed; gear that reports has them
        in its count."""
        if self.reported_s is not None:
            return (self.carried_s + self.reported_s) // _HOUR_S
        return initial_hours + self.counted_s // _HOUR_S

    def counted(self, lit_s: int, until_ms: int) -> Burning:
        """Lit for some seconds more, until an instant."""
        return replace(self, counted_s=self.counted_s + lit_s, counted_until_ms=until_ms)

    def reported(self, seconds: int) -> Burning:
        """Gear has said how long it burned. One that says much less than before is new gear beside the old light
        source, which is no younger for it; whoever puts in a new light source says so with its date (`of`)."""
        before = self.reported_s
        fell = before is not None and seconds < before - _LEAST_FALL_S
        return replace(self, reported_s=seconds, carried_s=self.carried_s + (before or 0) if fell else self.carried_s)

    def of(self, installed_on: str, installed_ms: int) -> Burning:
        """The same, or the first of another light source where another date of installation stands: counting begins
        with that day (Unix ms; 0 for no date: with what is known)."""
        if self.installed_on == installed_on and self.counted_until_ms:
            return self
        return Burning(counted_until_ms=installed_ms, installed_on=installed_on)
