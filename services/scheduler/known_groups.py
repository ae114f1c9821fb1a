"""The groups that lighting has, asked again when their names change, and each minute for where their members are."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from servicekit.clock import Clock
from servicekit.context import Tenant
from services.scheduler.lighting import Lighting
from services.scheduler.records import Group

_FRESH: Final = timedelta(seconds=60)
"""Real time: in a time-lapse the groups change no faster."""


@dataclass(frozen=True, slots=True)
class _Known:
    groups: dict[str, Group]
    names: frozenset[str]
    asked_at: datetime


class KnownGroups:
    """Groups by uid, per municipality."""

    def __init__(self, lighting: Lighting, clock: Clock) -> None:
        self._lighting, self._clock = lighting, clock
        self._known: dict[str, _Known] = {}

    async def of(self, tenant: Tenant, names: Set[str]) -> dict[str, Group]:
        """Groups of a municipality by uid; `names` are those that lighting has now. Raises Unavailable or TimedOut."""
        known, real = self._known.get(tenant.uid), self._clock.real()
        if known is None or known.names != names or real - known.asked_at >= _FRESH:
            groups = await self._lighting.groups(tenant.name)
            known = _Known({group.uid: group for group in groups}, frozenset(group.name for group in groups), real)
            self._known[tenant.uid] = known
        return known.groups
