"""InstallMeter: when a meter was hung up and what its registers showed then; said late, or put right.

CreateMeter and UpdateMeter take the same of one meter, as fields of it.
"""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Session

from domain.errors import FailedPrecondition, InvalidInput
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.context import Tenant
from services.metering.api.calls import Context
from services.metering.api.housing import HousingCalls, Part, check_hangs, field_of, past_ms, told_of, whole
from services.metering.life import Installation
from services.metering.meter import Kind
from services.metering.meter_rules import check_installation
from services.metering.store.feed import Source
from services.metering.store.installations import install
from services.metering.store.tables import MeterRow
from services.metering.validation.parameters import Parameters

SOURCE = "installation"
FIELDS = ("installed_at", "first_reading")
"""Of a meter: what the installation of its first register is told by."""


class InstallCalls(HousingCalls):
    """Installations."""

    async def InstallMeter(self, request: pb.InstallMeterRequest, context: Context) -> pb.Meter:
        """Begins the first lives of all registers in the housing with what they showed."""
        at_ms = past_ms(request.installed_at, "installed_at", self.clock.now())
        source = self.source(SOURCE)

        def parts(session: Session, tenant: Tenant, row: MeterRow) -> list[Part[Installation]]:
            check_hangs(session, row, "install", "it is not hung up")
            own = request.first_reading if request.HasField("first_reading") else None
            found = [Part(row, "", Installation(at_ms, own))]
            for one, place in told_of(session, tenant, row, request.registers, "the first reading is"):
                first = 0 if place is None else request.registers[place].first_reading
                is_told = one.kind == Kind.COUNTER or first
                found.append(Part(one, field_of(place), Installation(at_ms, first if is_told else None)))
            return found

        def apply(session: Session, part: Part[Installation]) -> None:
            put_installation(session, part.row, part.what, source, self.parameters)

        return await self.to_housing(request, parts, apply)


def put_installation(
    session: Session, row: MeterRow, what: Installation | None, source: Source, parameters: Parameters
) -> None:
    """Records when a meter was hung up, or that nobody knows. Raises as `installations.install` does, and InvalidInput
    for what a meter of its kind cannot have."""
    wrong = check_installation(row.kind, what is not None, what.first_reading if what else None)
    if wrong:
        raise InvalidInput(violations=wrong)
    if install(session, row, whole(session, row).lives, what, source, parameters):
        row.revision += 1
        session.add(row)
        session.flush()


def put_installation_of_message(
    session: Session, row: MeterRow, what: Installation | None, source: Source, parameters: Parameters
) -> None:
    """The same as fields of a meter's message say it: so are the fields named that are wrong."""
    try:
        put_installation(session, row, what, source, parameters)
    except (InvalidInput, FailedPrecondition) as error:
        raise error.under("meter") from None


def given_installation(meter: pb.Meter, now: datetime) -> Installation | None:
    """What a message says about the installation; None for nothing. Raises InvalidInput for a time yet to come, and for
    a first reading of nobody knows when."""
    first = meter.first_reading if meter.HasField("first_reading") else None
    if not meter.HasField("installed_at"):
        if first is not None:
            raise InvalidInput(violations=check_installation(Kind.COUNTER, False, first)).under("meter")
        return None
    return Installation(past_ms(meter.installed_at, "meter.installed_at", now), first)
