"""Methods about meters: creating, finding, changing and deleting them.

When their registers were hung up, given way to others or taken down: installing.py, exchange.py and dismounting.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from domain.errors import FailedPrecondition, InvalidInput, Violation
from domain.names import ResourceName, check_id, new_uid
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit import audit
from servicekit.context import Tenant, current_tenant, current_tenants, scope_aware
from servicekit.convert import check_etag, etag_of, mask_paths
from servicekit.idempotency import once
from servicekit.paging import Page, page
from services.metering.api.calls import Calls, Context, in_scope, name_of_id, named_rows
from services.metering.api.convert import etag, meter_to_proto
from services.metering.api.installing import FIELDS as INSTALLATION
from services.metering.api.installing import SOURCE, given_installation, put_installation_of_message
from services.metering.api.meter_fields import (
    SETTABLE,
    MeterFields,
    fields_of,
    in_housing,
    merged,
    related_of,
    resolve,
)
from services.metering.life import Installation, Origin
from services.metering.meter import Kind
from services.metering.schedule import slots_differ
from services.metering.slot import floor_slot_ms, to_ms
from services.metering.store import lock
from services.metering.store import meters as store
from services.metering.store.heads import pass_over
from services.metering.store.installations import check_registers
from services.metering.store.lives import change_living, end_life
from services.metering.store.relations import Related, check_relations, check_unused, pass_on, registers_of
from services.metering.store.tables import MeterRow

_MEANING = ("kind", "medium", "unit", "scale_exponent", "transformer_ratio")
"""What says how stored values are to be read: fixed once there are any."""
_OF_LIFE = (*_MEANING, "rollover", "obis_code", "serial_number", "device_uid")
"""What the register that counts now has from its meter, or from the housing that it sits in."""


@dataclass(frozen=True, slots=True)
class _Change:
    """What an update makes of a meter: how it stands, also as it was answered, and how it is to be."""

    before: store.StoredMeter
    was: pb.Meter
    after: MeterFields
    related: Related
    is_hung_anew: bool

    @property
    def is_of_register(self) -> bool:
        """True if stored readings could come to mean something else, or the register to be another one."""
        return self.is_hung_anew or self.has_other_slots or self.is_of_life

    @property
    def is_of_life(self) -> bool:
        """True if the register that counts now is told of otherwise."""
        return any(getattr(self.before.row, name) != getattr(self.after, name) for name in _OF_LIFE)

    @property
    def has_other_slots(self) -> bool:
        """True if polling reads it at other slots from now on."""
        return slots_differ(self.before.row.reading_cycle, self.after.reading_cycle)


class MeterCalls(Calls):
    """Meters."""

    async def CreateMeter(self, request: pb.CreateMeterRequest, context: Context) -> pb.Meter:
        """A new meter, with a register that hangs there since then, or since nobody knows when."""
        tenant, given = current_tenant(), request.meter
        hung, source = given_installation(given, self.clock.now()), self.source(SOURCE)
        found = await self._fields(tenant, given)
        head: dict[str, Any] = {
            "uid": new_uid(),
            "municipality_uid": tenant.uid,
            "meter_id": check_id(request.meter_id, "meter_id") if request.meter_id else new_uid(),
            "revision": 1,
            "created_at": self.clock.now(),
        }
        name = name_of_id(tenant.id, head["meter_id"])

        def create(session: Session) -> pb.Meter:
            store.check_is_new(session, tenant.uid, head["meter_id"], name)
            wanted = resolve(session, tenant.uid, given, found)
            related = related_of(session, wanted)
            wanted = in_housing(given, wanted, related.device, SETTABLE).checked(related)
            row = MeterRow(**head, **wanted.values())
            check_relations(session, row, related)
            created = store.create(session, row, name)
            if hung is not None:
                put_installation_of_message(session, row, hung, source, self.parameters)
                created = store.whole(session, [row])[0]
            answer = meter_to_proto(tenant.id, created)
            audit.record(session, "", name, row.uid, tenant.uid, after=answer)
            return answer

        answer = await self.database.run(
            lambda session: once(
                session,
                request,
                pb.Meter,
                lambda: create(session),
                municipality_uid=tenant.uid,
                real=self.clock.real(),
            )
        )
        self.changed()
        return answer

    @scope_aware
    async def GetMeter(self, request: pb.GetMeterRequest, context: Context) -> pb.Meter:
        """One meter."""

        def get(session: Session) -> pb.Meter:
            tenant, row = named_rows(session, [request.name])[0]
            return meter_to_proto(tenant.id, store.whole(session, [row])[0])

        return await self.database.read(get)

    @scope_aware
    async def ListMeters(self, request: pb.ListMetersRequest, context: Context) -> pb.ListMetersResponse:
        """Meters of a municipality, or of all that the caller may see, by name."""
        found = await self.database.read(lambda session: _list(session, request))
        return pb.ListMetersResponse(meters=found.items, next_page_token=found.next_page_token)

    async def UpdateMeter(self, request: pb.UpdateMeterRequest, context: Context) -> pb.Meter:
        """Changes what the mask names. What tells how stored counters are to be read stays once there are any."""
        given, tenant = request.meter, current_tenant()
        name = ResourceName.parse(given.name, field="meter.name", collection="meters")
        paths = mask_paths(request.update_mask, (*SETTABLE, *INSTALLATION))
        dated = [path for path in paths if path in INSTALLATION]
        paths = [path for path in paths if path not in INSTALLATION]
        source = self.source(SOURCE)
        found = await self._fields(tenant, given, paths)

        def look(session: Session) -> _Change:
            row = store.get_row(session, tenant.uid, name.id, str(name))
            before = store.whole(session, [row])[0]
            check_etag(given.etag, etag(before))
            was = meter_to_proto(tenant.id, before)
            wanted = merged(row, resolve(session, tenant.uid, given, found), paths)
            related = related_of(session, wanted)
            counted_in = frozenset(life.unit for life in before.lives)
            after = in_housing(given, wanted, related.device, paths).checked(related, counted_in)
            return _Change(before, was, after, related, any(_differs(given, was, path) for path in dated))

        def update(session: Session) -> pb.Meter:
            change = look(session)
            if change.is_of_register:
                lock.to_change_registers(session)
                session.expire_all()  # readings may have come while we waited, and somebody else's change
                change = look(session)
            row, was, after, related = change.before.row, change.was, change.after, change.related
            _check_meaning(session, change.before, after)
            store.check_serial_number(session, tenant.uid, after.serial_number, row.uid)
            check_relations(session, MeterRow(**{**row.model_dump(), **after.values()}), related)
            if change.has_other_slots:
                pass_over(session, row.uid, floor_slot_ms(to_ms(self.clock.now())))
            is_of_life = change.is_of_life
            after.put(row)
            row.revision = MeterRow.revision + 1
            session.add(row)
            session.flush()
            session.expire_all()  # a change of nothing but a name has waited for nobody until here
            check_etag(given.etag, etag_of(row.uid, row.revision - 1))
            pass_on(session, row)
            if change.is_hung_anew:
                hung = given_installation(_with(was, given, dated), self.clock.now())
                if hung is not None:
                    _check_registers(session, row, hung)
                put_installation_of_message(session, row, hung, source, self.parameters)
            if is_of_life:
                device = related.device or row
                for one in (row, *registers_of(session, row.uid)):
                    change_living(session, one, device.serial_number)
            answer = meter_to_proto(tenant.id, store.whole(session, [row])[0])
            audit.record(session, "", str(name), row.uid, tenant.uid, before=was, after=answer)
            return answer

        answer = await self.database.run(update)
        self.changed()
        return answer

    async def DeleteMeter(self, request: pb.DeleteMeterRequest, context: Context) -> pb.Meter:
        """Takes the meter out of use and its name away; lives and readings stay."""
        tenant, name = current_tenant(), ResourceName.parse(request.name, collection="meters")
        now = self.clock.now()

        def delete(session: Session) -> pb.Meter:
            lock.to_change_registers(session)
            row = store.get_row(session, tenant.uid, name.id, str(name))
            check_unused(session, row)
            meter = store.whole(session, [row])[0]
            was = meter_to_proto(tenant.id, meter)
            if meter.living is not None:
                latest = meter.heads.get(meter.living.key)
                end_life(session, meter.living, to_ms(now), latest.latest_value if latest else 0, Origin.REMOVED)
            store.delete(session, row, now)
            answer = meter_to_proto(tenant.id, store.whole(session, [row])[0])
            audit.record(session, "", str(name), row.uid, tenant.uid, before=was, reason=request.reason)
            return answer

        answer = await self.database.run(delete)
        self.changed()
        return answer

    async def _fields(self, tenant: Tenant, given: pb.Meter, paths: list[str] | None = None) -> MeterFields:
        """The settable fields of a message; the endpoint is looked up where it is to be set.

        That of a register is its housing's, and known with it.
        """
        endpoint = ("", "")
        if given.endpoint and not given.device and (paths is None or "endpoint" in paths):
            endpoint_id = ResourceName.parse(given.endpoint, field="meter.endpoint", collection="endpoints").id
            endpoint = ((await self.endpoints.find(tenant, endpoint_id, "meter.endpoint")).uid, endpoint_id)
        return fields_of(given, endpoint)


def _list(session: Session, request: pb.ListMetersRequest) -> Page[pb.Meter]:
    tenants = sorted(current_tenants(), key=lambda tenant: tenant.id)
    main = named_rows(session, [request.main_meter])[0][1].uid if request.main_meter else ""
    wanted = store.Wanted(
        cabinet_id=ResourceName.parse(request.cabinet, collection="cabinets").id if request.cabinet else "",
        medium=int(request.medium),
        building=request.building,
        main_meter_uid=main,
        identity=request.identity,
    )

    def fetch(after: list[str | int | None] | None, limit: int) -> list[tuple[Tenant, MeterRow]]:
        last_town, last_id = ("", "") if after is None else (str(after[0]), str(after[1]))
        found: list[tuple[Tenant, MeterRow]] = []
        for tenant in tenants:
            if tenant.id < last_town:
                continue
            after_id = last_id if tenant.id == last_town else ""
            while len(found) < limit:
                rows = store.list_rows(session, tenant.uid, after_id, limit, wanted)
                found += [(tenant, row) for row in rows if in_scope(tenant, row)]
                if len(rows) < limit:
                    break
                after_id = rows[-1].meter_id
        return found[:limit]

    pages = page(request, fetch, lambda pair: [pair[0].id, pair[1].meter_id])
    whole = store.whole(session, [row for _, row in pages.items])
    meters = [meter_to_proto(tenant.id, meter) for (tenant, _), meter in zip(pages.items, whole, strict=True)]
    return Page(meters, pages.next_page_token)


def _differs(one: pb.Meter, other: pb.Meter, name: Any) -> bool:
    return one.HasField(name) != other.HasField(name) or getattr(one, name) != getattr(other, name)


def _with(was: pb.Meter, given: pb.Meter, paths: Sequence[str]) -> pb.Meter:
    """What is to be said of the installation: as it was, but for what the mask names."""
    told = {"installed_at": was, "first_reading": was, **dict.fromkeys(paths, given)}
    found = pb.Meter()
    if told["installed_at"].HasField("installed_at"):
        found.installed_at.CopyFrom(told["installed_at"].installed_at)
    if told["first_reading"].HasField("first_reading"):
        found.first_reading = told["first_reading"].first_reading
    return found


def _check_registers(session: Session, row: MeterRow, what: Installation) -> None:
    try:
        check_registers(session, row, what.at_ms)
    except InvalidInput as error:
        raise error.under("meter") from None


def _check_meaning(session: Session, before: store.StoredMeter, after: MeterFields) -> None:
    """Raises FailedPrecondition where stored readings, also of registers in its housing, would come to mean something
    else."""
    latest, row = before.latest, before.row
    why = "readings are stored that it tells how to read: record an exchange, or a new meter"
    wrong = []
    if latest is not None:
        meaning = _MEANING if row.kind != Kind.INTERVAL else (*_MEANING, "reading_cycle")
        wrong = [Violation(f"meter.{name}", why) for name in meaning if getattr(row, name) != getattr(after, name)]
        if after.rollover and latest.latest_value >= after.rollover:
            wrong.append(Violation("meter.rollover", f"the register shows {latest.latest_value} already"))
    if row.transformer_ratio != after.transformer_ratio:
        for register in store.whole(session, registers_of(session, row.uid)):
            if register.latest is not None:
                wrong.append(Violation("meter.transformer_ratio", f"of register {register.row.meter_id} {why}"))
    if wrong:
        raise FailedPrecondition(violations=wrong)
