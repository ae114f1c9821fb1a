"""The read plans of a device, made once and kept, and what the device has taught us that they must respect.

A device of which nothing is known but its profile shares its plans with its like. How a plan is made is planner.py's
business, carrying it out read.py's.
"""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import Final, NamedTuple

from fieldbus.freshness import Freshness
from fieldbus.modbus.block_length import BlockLengths
from fieldbus.modbus.direct_read import DirectRead
from fieldbus.modbus.planner import Memory, plan_reads
from fieldbus.modbus.quick_decode import QuickDecoder
from fieldbus.modbus.reading import Planned
from fieldbus.profile import Profile
from fieldbus.values import PointAddress

_KEPT: Final = 64  # per device
_SHARED_MAX: Final = 512  # per profile

Plans = dict[tuple[PointAddress, ...], Planned]


class Prepared(NamedTuple):
    """All that a reading of these points needs. The points stay alive here, as they are found by identity."""

    points: tuple[PointAddress, ...]
    planned: Planned
    freshness: Freshness | None
    direct: DirectRead


class PlanBook:
    """The plans of one device."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.memory = Memory()
        self.lengths = BlockLengths()
        self._narrowed = profile
        self._plans = shared_plans(profile)
        self._recent: dict[int, Prepared] = {}  # by identity of the points: hashing thousands in every cycle costs

    def adopt(self, profile: Profile) -> None:
        """Plan by another profile from now on: the device turned out to be another copy of the product."""
        self.profile = profile
        self.forget()

    def forget(self) -> None:
        """Forget what the device refused: it may be another one now."""
        self.memory = Memory()
        self.lengths = BlockLengths()
        self.learnt()

    def learnt(self) -> None:
        """What is known of the device has changed: plans have to be made anew."""
        self._recent.clear()
        narrowed = self.lengths.narrow(self.profile.modbus)
        changed = narrowed is not self.profile.modbus
        self._narrowed = replace(self.profile, modbus=narrowed) if changed else self.profile
        knowing = changed or bool(self.memory.refused) or any(self.memory.cuts.values())
        self._plans = {} if knowing else shared_plans(self.profile)

    def of(self, points: tuple[PointAddress, ...], now: float) -> Prepared:
        """The plan for points. Raises InvalidInput for points that the profile does not have.

        `now` in real seconds: what was refused is asked for again when its time has come.
        """
        if self.memory.refused and self.memory.forgive(now):
            self.learnt()
        prepared = self._recent.get(id(points))
        if prepared is not None:
            return prepared
        planned = self._plans.get(points)
        if planned is None:
            plan = plan_reads(self._narrowed, points, self.memory)
            planned = Planned(plan, QuickDecoder.of(self.profile, points, plan.blocks))
            if len(self._plans) >= _SHARED_MAX:
                del self._plans[next(iter(self._plans))]
            self._plans[points] = planned
        rule = self.profile.freshness
        judged = rule.max_age_s is not None or rule.frozen_after
        if len(self._recent) >= _KEPT:
            self._recent.clear()
        freshness = Freshness.of(self.profile, len(points)) if judged else None
        prepared = Prepared(points, planned, freshness, DirectRead.of(planned))
        self._recent[id(points)] = prepared
        return prepared


_SHARED: dict[int, Plans] = {}


def shared_plans(profile: Profile) -> Plans:
    """The plans of all devices of a profile that have refused nothing: hundreds of one product need them once."""
    plans = _SHARED.get(id(profile))
    if plans is None:
        plans = _SHARED[id(profile)] = {}
        weakref.finalize(profile, _SHARED.pop, id(profile), None)
    return plans
