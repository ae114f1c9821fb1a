"""ExchangeMeter: a meter gives way to another with all registers in its housing, also long after the fact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlmodel import Session

from domain.errors import FailedPrecondition, InvalidInput, Violation
from domain.names import ResourceName
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit import audit
from servicekit.context import Tenant, current_tenant
from servicekit.convert import timestamp_from_proto
from servicekit.idempotency import once
from services.metering.api.calls import Calls, Context, meter_name
from services.metering.api.convert import meter_to_proto
from services.metering.api.meter_fields import MeterFields, related_of
from services.metering.life import Change, Exchange, Origin, RegisterLife
from services.metering.meter import Kind, Medium, Unit
from services.metering.meter_rules import check_obis, check_point, check_unit
from services.metering.slot import slot_text, to_ms
from services.metering.store import lock
from services.metering.store import meters as store
from services.metering.store.exchanges import exchange
from services.metering.store.feed import Source
from services.metering.store.lives import rules_of, state_before
from services.metering.store.relations import check_relations, registers_of, rows_by_uid
from services.metering.store.tables import MeterRow


@dataclass(frozen=True, slots=True)
class _Part:
    """One register of the housing and what becomes of it. `field` is where the request speaks of it, with a dot."""

    row: MeterRow
    field: str
    what: Exchange


class ExchangeCalls(Calls):
    """Exchanges."""

    async def ExchangeMeter(self, request: pb.ExchangeMeterRequest, context: Context) -> pb.Meter:
        """Ends the lives of all registers in the housing and begins the next ones. Readings that were stored since go
        over to them."""
        tenant, name = current_tenant(), ResourceName.parse(request.name, collection="meters")
        at = timestamp_from_proto(request.exchanged_at, "exchanged_at")
        if at > self.clock.now():
            raise InvalidInput.of("exchanged_at", "it lies in the future")
        source = self.source("exchange")

        def record(session: Session) -> pb.Meter:
            lock.to_change_registers(session)
            row = store.get_row(session, tenant.uid, name.id, str(name))
            parts = _parts(session, tenant, row, request, to_ms(at))
            was = {part.row.uid: meter_to_proto(tenant.id, _whole(session, part.row)) for part in parts}
            for part in parts:
                try:
                    _exchange(session, part, source)
                except (InvalidInput, FailedPrecondition) as error:
                    raise error.under(part.field) if part.field else error from None
            for part in parts:
                answer = meter_to_proto(tenant.id, _whole(session, part.row))
                audit.record(
                    session,
                    "",
                    meter_name(tenant.id, part.row),
                    part.row.uid,
                    tenant.uid,
                    before=was[part.row.uid],
                    after=answer,
                    reason=request.reason,
                )
            return meter_to_proto(tenant.id, _whole(session, row))

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


def _whole(session: Session, row: MeterRow) -> store.StoredMeter:
    return store.whole(session, [row])[0]


def _parts(
    session: Session, tenant: Tenant, row: MeterRow, request: pb.ExchangeMeterRequest, at_ms: int
) -> list[_Part]:
    """The meter and the registers in its housing with what becomes of each. Raises InvalidInput for a register that is
    not in it or missing, FailedPrecondition for a meter that is not exchanged by itself."""
    if row.device_uid:
        housing = rows_by_uid(session, [row.device_uid])[row.device_uid]
        raise FailedPrecondition.of("name", f"it sits in the housing of {housing.meter_id}: exchange that")
    if row.kind == Kind.VIRTUAL:
        raise FailedPrecondition.of("name", "a virtual meter hangs nowhere: nothing is exchanged")
    serial = request.serial_number.strip() or None
    ratio = request.change.transformer_ratio if request.change.HasField("transformer_ratio") else None
    housed = {meter_name(tenant.id, one): one for one in registers_of(session, row.uid)}
    wrong: list[Violation] = []
    given: dict[str, int] = {}
    for number, one in enumerate(request.registers):
        field = f"registers[{number}]"
        if one.meter not in housed:
            wrong.append(Violation(f"{field}.meter", f"{one.meter} does not sit in the housing of {row.meter_id}"))
        elif one.meter in given:
            wrong.append(Violation(f"{field}.meter", f"{one.meter} is there twice"))
        elif one.change.HasField("transformer_ratio") and one.change.transformer_ratio != ratio:
            wrong.append(Violation(f"{field}.change.transformer_ratio", "that of the whole housing counts"))
        given.setdefault(one.meter, number)
    missing = [one.meter_id for name, one in housed.items() if one.kind == Kind.COUNTER and name not in given]
    if missing:
        wrong.append(Violation("registers", f"final and first reading are missing of {', '.join(missing)}"))
    if wrong:
        raise InvalidInput(violations=wrong)
    first = Exchange(
        at_ms, request.final_reading, request.first_reading, Origin.EXCHANGE, serial, _change(request.change, ratio)
    )
    parts = [_Part(row, "", first)]
    for name, register in housed.items():
        one = request.registers[given[name]] if name in given else pb.RegisterExchange()
        what = replace(
            first,
            final_reading=one.final_reading,
            first_reading=one.first_reading,
            change=_change(one.change, ratio),
        )
        parts.append(_Part(register, f"registers[{given[name]}]" if name in given else "registers", what))
    return parts


def _change(given: pb.RegisterChange, ratio: int | None) -> Change:
    return Change(
        transformer_ratio=ratio,
        obis_code=given.obis_code.strip() if given.HasField("obis_code") else None,
        unit=int(given.unit) if given.HasField("unit") else None,
        scale_exponent=given.scale_exponent if given.HasField("scale_exponent") else None,
        rollover=given.rollover if given.HasField("rollover") else None,
    )


def _exchange(session: Session, part: _Part, source: Source) -> None:
    row, meter = part.row, _whole(session, part.row)
    what = _checked(row, meter.lives, part.what)
    _check_final(session, meter, what)
    _, begun = exchange(session, row, meter.lives, what, source)
    if begun.removed_ms is None:
        _take_over(session, row, begun, what.serial_number)
    row.revision += 1
    session.add(row)
    session.flush()


def _checked(row: MeterRow, lives: Sequence[RegisterLife], what: Exchange) -> Exchange:
    """The exchange with its OBIS code as it is stored. Raises InvalidInput for what the new register cannot be."""
    if row.kind != Kind.COUNTER and (what.final_reading or what.first_reading):
        field = "final_reading" if what.final_reading else "first_reading"
        raise InvalidInput.of(field, "only a counter has a last and a first reading")
    old = next((life for life in lives if life.covers(what.at_ms)), None)
    if old is None:
        return what
    unit = old.unit if what.change.unit is None else what.change.unit
    if all(unit != one for one in Unit):
        raise InvalidInput.of("change.unit", f"{unit} is not a unit known here")
    check_unit(row.medium, unit, row.kind, "change.unit")
    if unit != old.unit and not (row.medium == Medium.GAS and {unit, old.unit} == {Unit.L, Unit.WH}):
        raise InvalidInput.of("change.unit", "only gas is told in litres or Wh; anything else is a new meter")
    if unit != old.unit and row.gas_factors == "[]":
        raise FailedPrecondition.of("change.unit", "litres become Wh by gas_factors, and the meter has none")
    if unit != old.unit and row.endpoint_uid and check_point(row.point, Unit(unit), Kind(row.kind)):
        raise FailedPrecondition.of(
            "change.unit",
            f"it is read at {row.point}, which counts in the old unit: take the endpoint away, and set it with the new"
            " point afterwards",
        )
    obis = old.obis_code if what.change.obis_code is None else what.change.obis_code
    normal = check_obis(obis, row.medium, unit, "change.obis_code")
    return replace(what, change=replace(what.change, obis_code=normal))


def _take_over(session: Session, row: MeterRow, begun: RegisterLife, serial: str | None) -> None:
    """Gives the meter what its new register has. Raises FailedPrecondition where that does not go with other meters."""
    if serial and not row.device_uid:
        store.check_serial_number(session, row.municipality_uid, serial, row.uid)
        row.serial_number = serial
    if row.unit != begun.unit:
        row.max_flow_per_h = 0  # it was said in the old unit
    row.unit, row.scale_exponent, row.obis_code = begun.unit, begun.scale_exponent, begun.obis_code
    row.transformer_ratio, row.rollover = begun.transformer_ratio, begun.rollover
    fields = MeterFields(**{name: getattr(row, name) for name in MeterFields.__slots__})
    try:
        check_relations(session, row, related_of(session, fields))
    except InvalidInput as error:
        raise FailedPrecondition(
            violations=[Violation("change.unit", one.reason) for one in error.violations]
        ) from None


def _check_final(session: Session, meter: store.StoredMeter, what: Exchange) -> None:
    """Raises InvalidInput if the old register had shown more already than what is said to be its last counter."""
    old = next((life for life in meter.lives if life.covers(what.at_ms)), None)
    if old is None or old.rollover or meter.row.kind != Kind.COUNTER:
        return
    good = state_before(session, old, what.at_ms).good
    if good is not None and what.final_reading < good.value - rules_of(meter.row, old).noise:
        raise InvalidInput.of(
            "final_reading", f"{what.final_reading} is less than the {good.value} read at {slot_text(good.slot_ms)}"
        )
