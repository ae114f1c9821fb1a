"""DismountMeter: a meter is taken down for good, with all registers in its housing. It stays to be asked about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlmodel import Session

from domain.errors import FailedPrecondition, InvalidInput, LichtbuchError, Violation
from domain.names import ResourceName
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit import audit
from servicekit.context import Tenant, current_tenant
from servicekit.convert import timestamp_from_proto
from servicekit.idempotency import once
from services.metering.api.calls import Calls, Context, meter_name
from services.metering.api.convert import meter_to_proto
from services.metering.life import RegisterLife
from services.metering.meter import Kind
from services.metering.reading import VALUE_MAX
from services.metering.slot import slot_text, to_ms
from services.metering.store import lock
from services.metering.store import meters as store
from services.metering.store.exchanges import dismount
from services.metering.store.lives import rules_of, state_before
from services.metering.store.relations import registers_of, rows_by_uid
from services.metering.store.tables import MeterRow


class DismountCalls(Calls):
    """Dismounting."""

    async def DismountMeter(self, request: pb.DismountMeterRequest, context: Context) -> pb.Meter:
        """Ends the lives of all registers in the housing. Readings from before stay and can be asked for."""
        tenant, name = current_tenant(), ResourceName.parse(request.name, collection="meters")
        at = timestamp_from_proto(request.dismounted_at, "dismounted_at")
        if at > self.clock.now():
            raise InvalidInput.of("dismounted_at", "it lies in the future")
        at_ms = to_ms(at)

        def record(session: Session) -> pb.Meter:
            lock.to_change_registers(session)
            row = store.get_row(session, tenant.uid, name.id, str(name))
            finals = _finals(session, tenant, row, request)
            for one in (row, *registers_of(session, row.uid)):
                before = store.whole(session, [one])[0]
                was = meter_to_proto(tenant.id, before)
                field, final = finals.get(one.uid, ("registers", 0))
                try:
                    dismount(session, _checked(session, before, at_ms, final), at_ms, final)
                except (InvalidInput, FailedPrecondition) as error:
                    raise _under(error, field) from None
                # The life keeps the number; the meter that bears it may hang elsewhere from now on.
                one.serial_number = ""
                one.revision += 1
                session.add(one)
                session.flush()
                after = meter_to_proto(tenant.id, store.whole(session, [one])[0])
                audit.record(
                    session, "", after.name, one.uid, tenant.uid, before=was, after=after, reason=request.reason
                )
            return meter_to_proto(tenant.id, store.whole(session, [row])[0])

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


def _under(error: InvalidInput | FailedPrecondition, field: str) -> LichtbuchError:
    return error.under(field) if field else error


def _finals(
    session: Session, tenant: Tenant, row: MeterRow, request: pb.DismountMeterRequest
) -> Mapping[str, tuple[str, int]]:
    """Final readings by the uid of the meter, each with where the request speaks of it. Raises InvalidInput for a
    register that is not in the housing or missing, FailedPrecondition for a meter that does not hang by itself."""
    if row.device_uid:
        housing = rows_by_uid(session, [row.device_uid])[row.device_uid]
        raise FailedPrecondition.of("name", f"it sits in the housing of {housing.meter_id}: dismount that")
    if row.kind == Kind.VIRTUAL:
        raise FailedPrecondition.of("name", "a virtual meter hangs nowhere: delete it")
    housed = {meter_name(tenant.id, one): one for one in registers_of(session, row.uid)}
    wrong: list[Violation] = []
    finals = {row.uid: ("", request.final_reading)}
    for number, one in enumerate(request.registers):
        field = f"registers[{number}]"
        if one.meter not in housed:
            wrong.append(Violation(f"{field}.meter", f"{one.meter} does not sit in the housing of {row.meter_id}"))
        elif housed[one.meter].uid in finals:
            wrong.append(Violation(f"{field}.meter", f"{one.meter} is there twice"))
        else:
            finals[housed[one.meter].uid] = (field, one.final_reading)
    missing = _missing(list(housed.values()), finals)
    if missing:
        wrong.append(Violation("registers", f"the final reading is missing of {', '.join(missing)}"))
    if wrong:
        raise InvalidInput(violations=wrong)
    return finals


def _missing(registers: Sequence[MeterRow], finals: Mapping[str, object]) -> list[str]:
    return [one.meter_id for one in registers if one.kind == Kind.COUNTER and one.uid not in finals]


def _checked(session: Session, meter: store.StoredMeter, at_ms: int, final_reading: int) -> RegisterLife:
    """The life that ends. Raises FailedPrecondition where none lives then, InvalidInput for what it cannot show."""
    life = meter.living
    if life is None or not life.covers(at_ms):
        begun = (
            "none lives any more" if life is None else f"the one that hangs there came at {slot_text(life.begin_ms)}"
        )
        raise FailedPrecondition.of("dismounted_at", f"no register lives at {slot_text(at_ms)}: {begun}")
    if meter.row.kind != Kind.COUNTER:
        if final_reading:
            raise InvalidInput.of("final_reading", "only a counter has a last reading")
        return life
    if final_reading > VALUE_MAX:
        raise InvalidInput.of("final_reading", f"{final_reading} is not a counter")
    if life.rollover and final_reading >= life.rollover:
        raise InvalidInput.of(
            "final_reading", f"{final_reading} has more digits than the register (rollover {life.rollover})"
        )
    good = state_before(session, life, at_ms).good
    if not life.rollover and good is not None and final_reading < good.value - rules_of(meter.row, life).noise:
        raise InvalidInput.of(
            "final_reading", f"{final_reading} is less than the {good.value} read at {slot_text(good.slot_ms)}"
        )
    return life
