"""Finding the registers of a device that tells where they are: following its SunSpec models, and noticing when they
have changed.

What the registers of the chain mean is sunspec.py's business, where points lie in the models the profile's.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Final

from domain.errors import InvalidInput
from fieldbus.faults import ACKNOWLEDGE, BUSY, DeviceException, Malformed, NoAnswer, Postponed
from fieldbus.modbus.sunspec import ChainReader, Models
from fieldbus.modbus.unit import ModbusUnit
from fieldbus.profile import Profile

_READ_HOLDING: Final = 3
_RESOLVED_KEPT: Final = 64

Chain = tuple[tuple[tuple[int, int], ...], ...]  # addresses and lengths by model id, sorted

# Profiles of the devices seen so far: hundreds of one make share theirs, and with it their plans. By identity of the
# profile that they were resolved from, which the entry keeps alive.
_RESOLVED: dict[tuple[int, Chain], tuple[Profile, Profile]] = {}


class ModelDiscovery:
    """Knows where the models of one unit are.

    It looks anew after each reconnection, some time after the unit refused something (it may have been exchanged behind
    a gateway whose connection stands), and again and again while models are missing, ever more seldom.
    """

    def __init__(self, unit: ModbusUnit, profile: Profile) -> None:
        """`profile` as it was loaded, without addresses."""
        self._unit = unit
        self._profile = profile
        self._found: Profile | None = None
        self._generation = 0
        self._refusals = 0
        self._looked_at = float("-inf")
        self._due = float("inf")
        self._failures = 0
        self._lock = asyncio.Lock()
        self.missing = ""  # what the chain lacks, for people

    def known(self, refusals: int) -> Profile | None:
        """The profile of this copy of the product, or None when it is time to `look`.

        `refusals` counts what the unit refused since it was opened.
        """
        if refusals != self._refusals:
            self._refusals = refusals
            self._due = min(self._due, self._looked_at + self._unit.limits.refused_points_retry_s)
        bus = self._unit.bus
        current = bus.connected and bus.generation == self._generation and self._unit.monotonic() < self._due
        return self._found if current else None

    async def look(self, refusals: int) -> Profile | None:
        """Follow the chain, unless somebody else just did. None where somebody else just got no answer.

        Raises LinkDown, NoAnswer, AnswerLost, Malformed, or DeviceException when the device cannot answer now.
        """
        async with self._lock:
            found = self.known(refusals)
            if found is None and not self._unit.waiting_reason:
                found = await self._follow()
            return found

    async def _follow(self) -> Profile:
        unit = self._unit
        limits = unit.limits
        deadline = unit.monotonic() + limits.read_deadline_s
        generation = await unit.connected()
        chain = ChainReader()
        broken = ""
        while (wanted := chain.wanted) is not None:
            if unit.monotonic() > deadline:
                raise Postponed(f"finding the models took longer than {limits.read_deadline_s:g} s")
            try:
                request = struct.pack(">HH", wanted.address, wanted.count)
                answer = await unit.request(_READ_HOLDING, request, is_read=True, turn_by=deadline)
            except DeviceException as error:
                if error.is_absence:
                    raise NoAnswer(str(error)) from None
                if error.exception_code in (ACKNOWLEDGE, BUSY):
                    raise
                chain.nothing_here()
                continue
            if len(answer) != 1 + 2 * wanted.count or answer[0] != 2 * wanted.count:
                unit.counters.discarded += 1
                raise Malformed(f"{len(answer)} bytes came for {wanted.count} registers from {wanted.address}")
            unit.answered()
            try:
                chain.feed(struct.unpack(f">{wanted.count}H", answer[1:]))
            except InvalidInput as error:
                broken = error.violations[0].reason
                break
        self._found = self._resolve(Models() if broken else chain.models)
        self._generation = generation
        self._looked_at = unit.monotonic()
        self.missing = self._lacks(chain.models, broken)
        if self.missing:
            wait_s = limits.refused_points_retry_s * 2.0 ** min(self._failures, 16)
            self._failures += 1
            self._due = self._looked_at + min(wait_s, limits.refused_points_retry_max_s)
        else:
            self._failures = 0
            self._due = float("inf")
        return self._found

    def _resolve(self, models: Models) -> Profile:
        key = id(self._profile), (tuple(sorted(models.addresses.items())), tuple(sorted(models.lengths.items())))
        kept = _RESOLVED.get(key)
        if kept is None:
            if len(_RESOLVED) >= _RESOLVED_KEPT:
                del _RESOLVED[next(iter(_RESOLVED))]
            kept = _RESOLVED[key] = self._profile, self._profile.resolved(models.addresses, models.lengths)
        return kept[1]

    def _lacks(self, models: Models, broken: str) -> str:
        """Why some points cannot be read; empty when all can."""
        assert self._found is not None
        absent = [name for name, binding in self._found.points.items() if binding.absent]
        if not absent:
            return ""
        if broken:
            return broken
        if not models.addresses:
            return "the device has no SunSpec models: no marker 'SunS' at 40000, 50000 or 0"
        wanted = {model for name in absent for model, _ in self._profile.points[name].models}
        listed = ", ".join(str(model) for model in sorted(wanted))
        found = ", ".join(str(model) for model in sorted(models.addresses))
        return f"the device has no usable SunSpec model {listed} (it has {found}), so it lacks {', '.join(absent)}"
