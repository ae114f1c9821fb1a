"""What happens to a whole housing: a meter is hung up, exchanged or taken down with all registers that sit in it.

Here is what these have in common: whom a request speaks of, one transaction for all, one entry of the audit trail for
each. What is done to a register is installing.py's, exchange.py's and dismounting.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp
from sqlmodel import Session

from domain.errors import FailedPrecondition, InvalidInput, Violation
from domain.names import ResourceName
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit import audit
from servicekit.context import Tenant, current_tenant
from servicekit.convert import timestamp_from_proto
from servicekit.idempotency import once
from services.metering.api.calls import Calls, meter_name
from services.metering.api.convert import meter_to_proto
from services.metering.life import RegisterLife
from services.metering.meter import Kind
from services.metering.slot import slot_text, to_ms
from services.metering.store import lock
from services.metering.store import meters as store
from services.metering.store.lives import state_before
from services.metering.store.relations import registers_of, rows_by_uid
from services.metering.store.tables import MeterRow
from services.metering.vee import RegisterRules

What = TypeVar("What")
HousingRequest = pb.InstallMeterRequest | pb.ExchangeMeterRequest | pb.DismountMeterRequest


class _Named(Protocol):
    """What a request says of one register."""

    @property
    def meter(self) -> str:
        """Name of the meter that is it."""
        ...


@dataclass(frozen=True, slots=True)
class Part(Generic[What]):
    """One register of a housing and what becomes of it. field: where the request speaks of it; empty for the first."""

    row: MeterRow
    field: str
    what: What


class HousingCalls(Calls):
    """What is done to housings."""

    async def to_housing(
        self,
        request: HousingRequest,
        parts_of: Callable[[Session, Tenant, MeterRow], Sequence[Part[What]]],
        apply: Callable[[Session, Part[What]], None],
    ) -> pb.Meter:
        """Applies what a request says to each register of the housing, all or none, and answers its meter. An error is
        told by where the request speaks of the register."""
        tenant, name = current_tenant(), ResourceName.parse(request.name, collection="meters")

        def record(session: Session) -> pb.Meter:
            lock.to_change_registers(session)
            row = store.get_row(session, tenant.uid, name.id, str(name))
            parts = parts_of(session, tenant, row)
            was = {part.row.uid: meter_to_proto(tenant.id, whole(session, part.row)) for part in parts}
            for part in parts:
                try:
                    apply(session, part)
                except (InvalidInput, FailedPrecondition) as error:
                    raise error.under(part.field) if part.field else error from None
            for part in parts:
                uid, after = part.row.uid, meter_to_proto(tenant.id, whole(session, part.row))
                audit.record(
                    session, "", after.name, uid, tenant.uid, before=was[uid], after=after, reason=request.reason
                )
            return meter_to_proto(tenant.id, whole(session, row))

        answer = await self.database.run(
            lambda session: once(
                session,
                request,
                pb.Meter,
                lambda: record(session),
                municipality_uid=tenant.uid,
                real=self.clock.real(),
            )
        )
        self.bell.ring()
        self.changed()
        return answer


def whole(session: Session, row: MeterRow) -> store.StoredMeter:
    """A meter with its lives."""
    return store.whole(session, [row])[0]


def past_ms(stamp: Timestamp, field: str, now: datetime) -> int:
    """An instant of a request, Unix ms. Raises InvalidInput for one that is yet to come."""
    at = timestamp_from_proto(stamp, field)
    if at > now:
        raise InvalidInput.of(field, "it lies in the future")
    return to_ms(at)


def check_hangs(session: Session, row: MeterRow, verb: str, virtual: str) -> None:
    """Raises FailedPrecondition for what does not hang by itself: `verb` its housing; `virtual`: what is with a sum."""
    if row.device_uid:
        housing = rows_by_uid(session, [row.device_uid])[row.device_uid]
        raise FailedPrecondition.of("name", f"it sits in the housing of {housing.meter_id}: {verb} that")
    if row.kind == Kind.VIRTUAL:
        raise FailedPrecondition.of("name", f"a virtual meter hangs nowhere: {virtual}")


def told_of(
    session: Session,
    tenant: Tenant,
    row: MeterRow,
    told: Sequence[_Named],
    needed: str,
    wrong: Sequence[Violation] = (),
) -> list[tuple[MeterRow, int | None]]:
    """The registers in the housing of a meter beside itself, and which element of `told` speaks of each; None for what
    is no counter and needs none.

    Raises InvalidInput for registers that are not in the housing, told of twice, or missing (`needed`: what of them),
    and for what is `wrong` otherwise.
    """
    housed = {meter_name(tenant.id, one): one for one in registers_of(session, row.uid)}
    found = list(wrong)
    place: dict[str, int] = {}
    for number, one in enumerate(told):
        field = f"registers[{number}].meter"
        if one.meter not in housed:
            found.append(Violation(field, f"{one.meter} does not sit in the housing of {row.meter_id}"))
        elif one.meter in place:
            found.append(Violation(field, f"{one.meter} is there twice"))
        place.setdefault(one.meter, number)
    missing = [one.meter_id for name, one in housed.items() if one.kind == Kind.COUNTER and name not in place]
    if missing:
        found.append(Violation("registers", f"{needed} missing of {', '.join(missing)}"))
    if found:
        raise InvalidInput(violations=found)
    return [(one, place.get(name)) for name, one in housed.items()]


def field_of(place: int | None) -> str:
    """Where a request speaks of a register."""
    return "registers" if place is None else f"registers[{place}]"


def check_final(session: Session, life: RegisterLife, rules: RegisterRules, at_ms: int, final_reading: int) -> None:
    """Raises InvalidInput if a register had shown more already than what is said to be its last counter."""
    if life.rollover or not rules.is_counter:
        return
    good = state_before(session, life, at_ms).good
    if good is not None and final_reading < good.value - rules.noise:
        raise InvalidInput.of(
            "final_reading", f"{final_reading} is less than the {good.value} read at {slot_text(good.slot_ms)}"
        )
