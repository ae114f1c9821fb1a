"""ExchangeMeter: a meter gives way to another with all registers in its housing, also long after the fact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlmodel import Session

from domain.errors import FailedPrecondition, InvalidInput, Violation
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
from services.metering.api.meter_fields import MeterFields, related_of
from services.metering.life import Change, Exchange, Origin, RegisterLife
from services.metering.meter import Kind, Medium, Unit
from services.metering.meter_rules import check_obis, check_point, check_unit
from services.metering.store import meters as store
from services.metering.store.exchanges import exchange
from services.metering.store.feed import Source
from services.metering.store.lives import rules_of
from services.metering.store.relations import check_relations
from services.metering.store.tables import MeterRow
from services.metering.validation.parameters import Parameters


class ExchangeCalls(HousingCalls):
    """Exchanges."""

    async def ExchangeMeter(self, request: pb.ExchangeMeterRequest, context: Context) -> pb.Meter:
        """Ends the lives of all registers in the housing and begins the next ones. Readings that were stored since go
        over to them."""
        at_ms = past_ms(request.exchanged_at, "exchanged_at", self.clock.now())
        source = self.source("exchange")
        return await self.to_housing(
            request,
            lambda session, tenant, row: _parts(session, tenant, row, request, at_ms),
            lambda session, part: _exchange(session, part, source, self.parameters),
        )


def _parts(
    session: Session, tenant: Tenant, row: MeterRow, request: pb.ExchangeMeterRequest, at_ms: int
) -> list[Part[Exchange]]:
    """The meter and the registers in its housing with what becomes of each. Raises InvalidInput for a register that is
    not in it or missing, FailedPrecondition for a meter that is not exchanged by itself."""
    check_hangs(session, row, "exchange", "nothing is exchanged")
    serial = request.serial_number.strip() or None
    ratio = request.change.transformer_ratio if request.change.HasField("transformer_ratio") else None
    wrong = [
        Violation(f"registers[{number}].change.transformer_ratio", "that of the whole housing counts")
        for number, one in enumerate(request.registers)
        if one.change.HasField("transformer_ratio") and one.change.transformer_ratio != ratio
    ]
    first = Exchange(
        at_ms, request.final_reading, request.first_reading, Origin.EXCHANGE, serial, _change(request.change, ratio)
    )
    parts = [Part(row, "", first)]
    for register, place in told_of(session, tenant, row, request.registers, "final and first reading are", wrong):
        one = pb.RegisterExchange() if place is None else request.registers[place]
        what = replace(
            first,
            final_reading=one.final_reading,
            first_reading=one.first_reading,
            change=_change(one.change, ratio),
        )
        parts.append(Part(register, field_of(place), what))
    return parts


def _change(given: pb.RegisterChange, ratio: int | None) -> Change:
    return Change(
        transformer_ratio=ratio,
        obis_code=given.obis_code.strip() if given.HasField("obis_code") else None,
        unit=int(given.unit) if given.HasField("unit") else None,
        scale_exponent=given.scale_exponent if given.HasField("scale_exponent") else None,
        rollover=given.rollover if given.HasField("rollover") else None,
    )


def _exchange(session: Session, part: Part[Exchange], source: Source, parameters: Parameters) -> None:
    row, meter = part.row, whole(session, part.row)
    what = _checked(row, meter.lives, part.what)
    old = next((life for life in meter.lives if life.covers(what.at_ms)), None)
    if old is not None:
        check_final(session, old, rules_of(row, old, parameters), what.at_ms, what.final_reading)
    _, begun = exchange(session, row, meter.lives, what, source, parameters)
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
