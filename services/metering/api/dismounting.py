"""DismountMeter: a meter is taken down for good, with all registers in its housing. It stays to be asked about."""

from __future__ import annotations

from sqlmodel import Session

from domain.errors import FailedPrecondition, InvalidInput
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.context import Tenant
from services.metering.api.calls import Context
from services.metering.api.housing import (
    HousingCalls,
    Part,
    check_final,
    check_hangs,
    field_of,
    past_ms,
    told_of,
    whole,
)
from services.metering.life import RegisterLife, check_counter
from services.metering.meter import Kind
from services.metering.slot import slot_text
from services.metering.store import meters as store
from services.metering.store.exchanges import dismount
from services.metering.store.lives import rules_of
from services.metering.store.tables import MeterRow
from services.metering.validation.parameters import Parameters


class DismountCalls(HousingCalls):
    """Dismounting."""

    async def DismountMeter(self, request: pb.DismountMeterRequest, context: Context) -> pb.Meter:
        """Ends the lives of all registers in the housing. Readings from before stay and can be asked for."""
        at_ms = past_ms(request.dismounted_at, "dismounted_at", self.clock.now())

        def parts(session: Session, tenant: Tenant, row: MeterRow) -> list[Part[int]]:
            check_hangs(session, row, "dismount", "delete it")
            told = told_of(session, tenant, row, request.registers, "the final reading is")
            finals = [
                Part(one, field_of(place), 0 if place is None else request.registers[place].final_reading)
                for one, place in told
            ]
            return [Part(row, "", request.final_reading), *finals]

        return await self.to_housing(
            request, parts, lambda session, part: _dismount(session, part, at_ms, self.parameters)
        )


def _dismount(session: Session, part: Part[int], at_ms: int, parameters: Parameters) -> None:
    row, final = part.row, part.what
    life = _checked(whole(session, row), at_ms, final)
    check_final(session, life, rules_of(row, life, parameters), at_ms, final)
    dismount(session, life, at_ms, final)
    # The life keeps the number; the meter that bears it may hang elsewhere from now on.
    row.serial_number = ""
    row.revision += 1
    session.add(row)
    session.flush()


def _checked(meter: store.StoredMeter, at_ms: int, final_reading: int) -> RegisterLife:
    """The life that ends. Raises FailedPrecondition where none lives then, InvalidInput for what it cannot show."""
    life = meter.living
    if life is None or not life.covers(at_ms):
        begun = (
            "none lives any more" if life is None else f"the one that hangs there came at {slot_text(life.begin_ms)}"
        )
        raise FailedPrecondition.of("dismounted_at", f"no register lives at {slot_text(at_ms)}: {begun}")
    if meter.row.kind != Kind.COUNTER and final_reading:
        raise InvalidInput.of("final_reading", "only a counter has a last reading")
    check_counter("final_reading", final_reading, life)
    return life
