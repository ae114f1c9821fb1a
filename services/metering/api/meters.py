"""Methods about meters: creating, finding, changing and deleting them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlmodel import Session

from domain.errors import FailedPrecondition, Violation
from domain.names import ResourceName, check_id, new_uid
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit import audit
from servicekit.context import Tenant, current_tenant, current_tenants, scope_aware
from servicekit.convert import check_etag, mask_paths
from servicekit.idempotency import once
from servicekit.paging import Page, page
from services.metering.api.calls import Calls, Context, in_scope, meter_name, named_rows
from services.metering.api.convert import etag, meter_to_proto
from services.metering.life import Origin
from services.metering.meter import DEFAULT_POINT, MeterFacts, check
from services.metering.slot import to_ms
from services.metering.store import meters as store
from services.metering.store.lives import change_living, end_life
from services.metering.store.tables import MeterRow

_SETTABLE = (
    "display_name",
    "medium",
    "unit",
    "cabinet",
    "building",
    "endpoint",
    "point",
    "serial_number",
    "rollover",
    "transformer_ratio",
    "connected_load_w",
)
_MEANING = ("medium", "unit", "transformer_ratio")
"""What says how stored counters are to be read: fixed once there are any."""


@dataclass(frozen=True, slots=True)
class _Fields:
    """What a client sets of a meter, in metering's own terms."""

    display_name: str
    medium: int
    unit: int
    cabinet_id: str
    building: str
    endpoint_uid: str
    endpoint_id: str
    point: str
    serial_number: str
    rollover: int
    transformer_ratio: int
    connected_load_w: int

    def put(self, row: MeterRow) -> None:
        """Sets them on a row."""
        for name in self.__slots__:
            setattr(row, name, getattr(self, name))

    def check(self) -> None:
        """Raises InvalidInput for what does not go together."""
        check(
            MeterFacts(
                medium=self.medium,
                unit=self.unit,
                endpoint=self.endpoint_id,
                cabinet=self.cabinet_id,
                building=self.building,
                point=self.point,
                rollover=self.rollover,
                transformer_ratio=self.transformer_ratio,
            )
        )


class MeterCalls(Calls):
    """Meters."""

    async def CreateMeter(self, request: pb.CreateMeterRequest, context: Context) -> pb.Meter:
        """A new meter, with a register that hangs there since nobody knows when."""
        tenant = current_tenant()
        fields = await self._fields(tenant, request.meter)
        fields.check()
        row = MeterRow(
            uid=new_uid(),
            municipality_uid=tenant.uid,
            meter_id=check_id(request.meter_id, "meter_id") if request.meter_id else new_uid(),
            revision=1,
            created_at=self.clock.now(),
            **{name: getattr(fields, name) for name in fields.__slots__},
        )

        def create(session: Session) -> pb.Meter:
            name = meter_name(tenant.id, row)
            # The transaction may run more than once, and a row belongs to one session.
            answer = meter_to_proto(tenant.id, store.create(session, MeterRow(**row.model_dump()), name))
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
        cabinet_id = ResourceName.parse(request.cabinet, collection="cabinets").id if request.cabinet else ""
        found = await self.database.read(lambda session: _list(session, request, cabinet_id))
        return pb.ListMetersResponse(meters=found.items, next_page_token=found.next_page_token)

    async def UpdateMeter(self, request: pb.UpdateMeterRequest, context: Context) -> pb.Meter:
        """Changes what the mask names. What tells how stored counters are to be read stays once there are any."""
        given, tenant = request.meter, current_tenant()
        name = ResourceName.parse(given.name, field="meter.name", collection="meters")
        paths = mask_paths(request.update_mask, _SETTABLE)
        fields = await self._fields(tenant, given, paths)

        def update(session: Session) -> pb.Meter:
            row = store.get_row(session, tenant.uid, name.id, str(name))
            before = store.whole(session, [row])[0]
            check_etag(given.etag, etag(before))
            was = meter_to_proto(tenant.id, before)
            after = _merged(row, fields, paths)
            after.check()
            _check_meaning(before, after)
            store.check_serial_number(session, tenant.uid, after.serial_number, row.uid)
            after.put(row)
            row.revision += 1
            session.add(row)
            change_living(session, row)
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
            row = store.get_row(session, tenant.uid, name.id, str(name))
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

    async def _fields(self, tenant: Tenant, given: pb.Meter, paths: list[str] | None = None) -> _Fields:
        """The settable fields of a message; the endpoint is looked up where it is to be set."""
        endpoint_uid = endpoint_id = cabinet_id = ""
        if given.endpoint and (paths is None or "endpoint" in paths):
            endpoint_id = ResourceName.parse(given.endpoint, field="meter.endpoint", collection="endpoints").id
            endpoint_uid = (await self.endpoints.find(tenant, endpoint_id, "meter.endpoint")).uid
        if given.cabinet:
            cabinet_id = ResourceName.parse(given.cabinet, field="meter.cabinet", collection="cabinets").id
        return _Fields(
            display_name=given.display_name,
            medium=int(given.medium),
            unit=int(given.unit),
            cabinet_id=cabinet_id,
            building=given.building,
            endpoint_uid=endpoint_uid,
            endpoint_id=endpoint_id,
            point=given.point or DEFAULT_POINT,
            serial_number=given.serial_number.strip(),
            rollover=given.rollover,
            transformer_ratio=given.transformer_ratio or 1,
            connected_load_w=given.connected_load_w,
        )


def _list(session: Session, request: pb.ListMetersRequest, cabinet_id: str) -> Page[pb.Meter]:
    tenants = sorted(current_tenants(), key=lambda tenant: tenant.id)

    def fetch(after: list[str | int | None] | None, limit: int) -> list[tuple[Tenant, MeterRow]]:
        last_town, last_id = ("", "") if after is None else (str(after[0]), str(after[1]))
        found: list[tuple[Tenant, MeterRow]] = []
        for tenant in tenants:
            if tenant.id < last_town:
                continue
            after_id = last_id if tenant.id == last_town else ""
            while len(found) < limit:
                rows = store.list_rows(session, tenant.uid, after_id, limit, cabinet_id)
                found += [(tenant, row) for row in rows if in_scope(tenant, row)]
                if len(rows) < limit:
                    break
                after_id = rows[-1].meter_id
        return found[:limit]

    pages = page(request, fetch, lambda pair: [pair[0].id, pair[1].meter_id])
    whole = store.whole(session, [row for _, row in pages.items])
    meters = [meter_to_proto(tenant.id, meter) for (tenant, _), meter in zip(pages.items, whole, strict=True)]
    return Page(meters, pages.next_page_token)


def _merged(row: MeterRow, given: _Fields, paths: list[str]) -> _Fields:
    """The row's fields with those of the mask from what was given."""
    values = {name: getattr(row, name) for name in given.__slots__}
    for path in paths:
        names = {"cabinet": ("cabinet_id",), "endpoint": ("endpoint_uid", "endpoint_id")}.get(path, (path,))
        values.update({name: getattr(given, name) for name in names})
    return replace(given, **values)


def _check_meaning(before: store.StoredMeter, after: _Fields) -> None:
    """Raises FailedPrecondition where stored counters would come to mean something else."""
    latest = before.latest
    if latest is None:
        return
    wrong = [
        Violation(f"meter.{name}", "readings are stored that it tells how to read: record an exchange, or a new meter")
        for name in _MEANING
        if getattr(before.row, name) != getattr(after, name)
    ]
    if after.rollover and latest.latest_value >= after.rollover:
        wrong.append(Violation("meter.rollover", f"the register shows {latest.latest_value} already"))
    if wrong:
        raise FailedPrecondition(violations=wrong)
