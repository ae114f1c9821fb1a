"""Drivers of the small town's lamps: kept in memory, swapped and decided as people say."""

from __future__ import annotations

from typing import Any

from domain.errors import FailedPrecondition, NotFound
from lichtbuch.lighting.v1 import gears_pb2 as pb
from servicekit.context import current_caller


class GearCalls:
    """The methods of drivers."""

    _town: Any

    async def ListLuminaireGears(
        self, request: pb.ListLuminaireGearsRequest, context: Any
    ) -> pb.ListLuminaireGearsResponse:
        """All, or one."""
        found = [gear for name, gear in self._town.gears.items() if request.luminaire in ("", name)]
        if request.undecided_only:
            found = [gear for gear in found if gear.lives[-1].state == pb.GEAR_LIFE_STATE_DETECTED]
        return pb.ListLuminaireGearsResponse(gears=found)

    async def RecordGearSwap(self, request: pb.RecordGearSwapRequest, context: Any) -> pb.LuminaireGear:
        """A new driver."""
        gear = self._gear(request.name)
        life = gear.lives.add(
            number=len(gear.lives) + 1, state=pb.GEAR_LIFE_STATE_RECORDED, serial=request.serial,
            reason=request.reason, author=current_caller().subject,
        )  # fmt: skip
        if request.HasField("installed_at"):
            life.installed_at.CopyFrom(request.installed_at)
        if request.HasField("first_counter_s"):
            life.first_counter_s = request.first_counter_s
        return gear

    async def DecideGearSwap(self, request: pb.DecideGearSwapRequest, context: Any) -> pb.LuminaireGear:
        """It was, or was not."""
        gear = self._gear(request.name)
        life = gear.lives[-1]
        if life.state != pb.GEAR_LIFE_STATE_DETECTED:
            raise FailedPrecondition.of("name", "no swap waits for a decision")
        life.state = pb.GEAR_LIFE_STATE_CONFIRMED if request.swapped else pb.GEAR_LIFE_STATE_REJECTED
        life.serial, life.reason, life.author = request.serial, request.reason, current_caller().subject
        return gear

    def _gear(self, name: str) -> pb.LuminaireGear:
        if name not in self._town.gears:
            raise NotFound(name)
        gear: pb.LuminaireGear = self._town.gears[name]
        return gear
