"""Methods of commissioning: a luminaire blinks, so that a person at the pole sees which address it is; and what it does
by itself when supply comes back or nobody speaks to it any more is asked for and listed."""

from __future__ import annotations

from datetime import datetime, timedelta
from math import isnan
from typing import Any, Final

from sqlmodel import Session, col, select

from domain.errors import FailedPrecondition, InvalidInput
from domain.level import FULL_PERMILLE
from domain.names import ResourceName
from domain.plan import from_unix_ms, to_unix_ms
from domain.sun import SUNSET_DEG, elevation_deg
from lichtbuch.lighting.v1 import commissioning_pb2 as pb
from servicekit import audit
from servicekit.context import Tenant, current_caller, current_tenant, current_tenants, scope_aware
from servicekit.convert import timestamp_to_proto
from servicekit.idempotency import once
from servicekit.paging import page
from services.lighting.api.calls import LARGEST_PAGE, Calls, Context
from services.lighting.api.reach import Reach
from services.lighting.due import NOTHING_DUE, DueSource
from services.lighting.identifying import LARGEST_LOW_PERMILLE, low_permille
from services.lighting.override import Lamp
from services.lighting.plan import floor_of
from services.lighting.records import EndpointState, IdentificationRecord
from services.lighting.state import Switch
from services.lighting.store.commissioning import count_blinking, put_identification
from services.lighting.store.commissioning_tables import ProtectionRow
from services.lighting.store.inventory import GATEWAYS, LUMINAIRES, get
from services.lighting.store.luminaires import lamps_of
from services.lighting.store.names import Names, uids_of
from services.lighting.store.protection import ask_for, list_protections
from services.lighting.store.tables import EndpointRow, GatewayRow, GroupRow, LockoutRow, LuminaireRow
from services.lighting.waiver import floor_over

USUAL_S: Final = 30
LEAST_S: Final = 5
MOST_AT_ONCE: Final = 20
"""Luminaires of a municipality that blink at once: more is no search for an address, but a nuisance on the road."""


class CommissioningCalls(Calls):
    """Commissioning."""

    @scope_aware
    async def IdentifyLuminaire(self, request: pb.IdentifyLuminaireRequest, context: Context) -> pb.Identification:
        """Lets a luminaire blink. It ends by itself, whatever becomes of the caller or of this process."""
        tenant, author = current_tenant(), current_caller().subject
        start = from_unix_ms(self.now_ms)
        end = start + timedelta(seconds=max(LEAST_S, request.duration_s or USUAL_S))

        def identify(session: Session) -> pb.Identification:
            luminaire_id = ResourceName.parse(request.name, field="name", collection="luminaires").id
            row = get(session, LUMINAIRES, tenant, luminaire_id)
            Reach(session, tenant).require(row, request.name)
            gateway = self._require_reachable(session, row, request.name)
            self._require_free(session, row, request.name)
            low = self._low(session, tenant, row, start, end)
            record = IdentificationRecord(row.uid, tenant.uid, to_unix_ms(start), to_unix_ms(end))
            if count_blinking(session, tenant, record.start_ms, but=row.uid) >= MOST_AT_ONCE:
                raise FailedPrecondition.of("name", f"{MOST_AT_ONCE} luminaires blink already: let these end first")
            put_identification(session, tenant, record, author)
            answer = pb.Identification(
                luminaire=request.name,
                start_time=timestamp_to_proto(start),
                end_time=timestamp_to_proto(end),
                gateway=GATEWAYS.name(tenant.id, gateway.id),
                gateway_address=row.gateway_address,
                low_permille=low,
                author=author,
            )
            audit.record(session, "", request.name, row.uid, tenant.uid, after=answer, reason=request.reason)
            return answer

        answer = await self.database.run(identify)
        await self.parts.memory.refresh()
        return answer

    @scope_aware
    async def ProtectLuminaires(
        self, request: pb.ProtectLuminairesRequest, context: Context
    ) -> pb.ProtectLuminairesResponse:
        """Keeps what is wanted; who works on the field does it as soon as the luminaires answer."""
        tenant, author, now_ms = current_tenant(), current_caller().subject, self.now_ms
        if not (request.gateways or request.groups or request.luminaires):
            raise InvalidInput.of("gateways", "name at least one gateway, group or luminaire")
        levels = [
            getattr(request, name) if request.HasField(name) else FULL_PERMILLE
            for name in ("power_on_permille", "communication_loss_permille")
        ]

        def ask(session: Session) -> pb.ProtectLuminairesResponse:
            reach = Reach(session, tenant)
            uids = _wanted(session, tenant, request, reach)
            if not uids:
                raise FailedPrecondition.of("gateways", "none of them has a luminaire with a gateway")
            ask_for(session, tenant, uids, levels[0], levels[1], now_ms, author)
            answer = pb.ProtectLuminairesResponse(luminaire_count=len(uids))
            audit.record(session, "", tenant.name, tenant.uid, tenant.uid, after=request, reason=request.reason)
            return answer

        def run(session: Session) -> pb.ProtectLuminairesResponse:
            real, answer_type = self.clock.real(), pb.ProtectLuminairesResponse
            return once(session, request, answer_type, lambda: ask(session), municipality_uid=tenant.uid, real=real)

        return await self.database.run(run)

    @scope_aware
    async def ListLuminaireProtections(
        self, request: pb.ListLuminaireProtectionsRequest, context: Context
    ) -> pb.ListLuminaireProtectionsResponse:
        """Luminaires by name, with what is known of the levels that they take by themselves."""
        tenants = current_tenants()

        def find(session: Session) -> pb.ListLuminaireProtectionsResponse:
            found = page(
                request,
                lambda after, limit: list_protections(
                    session, tenants, after, limit, unprotected_only=request.unprotected_only,
                    where=lambda tenant: Reach(session, tenant).conditions(LuminaireRow),
                ),
                lambda item: (item[0].id, item[1].id),
                largest=LARGEST_PAGE,
            )  # fmt: skip
            names = Names(session, tenants)
            return pb.ListLuminaireProtectionsResponse(
                protections=[_protection(*item, names) for item in found.items], next_page_token=found.next_page_token
            )

        return await self.database.read(find)

    def _require_reachable(self, session: Session, row: LuminaireRow, name: str) -> GatewayRow:
        """The gateway of a luminaire. Raises FailedPrecondition where nothing can or may be told to it."""
        gateway = session.get(GatewayRow, row.gateway_uid) if row.gateway_uid else None
        if gateway is None:
            raise FailedPrecondition.of("name", f"{name} has no gateway: nothing can be told to it")
        endpoint = session.get(EndpointRow, gateway.endpoint_uid)
        state = EndpointState(endpoint.state) if endpoint is not None else EndpointState.PLANNED
        if state < EndpointState.TESTED:
            word = state.name.lower()
            raise FailedPrecondition.of(
                "name", f"the endpoint of gateway {gateway.id} is {word}: it is written only when tested or in control"
            )
        return gateway

    def _require_free(self, session: Session, row: LuminaireRow, name: str) -> None:
        """Raises FailedPrecondition where something stands above a test: lock-out, emergency, maintenance, a switch
        in 0. What of it comes later is respected as well."""
        if row.feeder_uid is not None:
            locked = select(LockoutRow.id).where(LockoutRow.feeder_uid == row.feeder_uid)
            holding = session.exec(locked.where(LockoutRow.released_at_ms == 0)).first()
            if holding is not None:
                raise FailedPrecondition.of("name", f"the feeder of {name} is locked out by {holding}")
        state = self.parts.state
        at = state.columns.row_of.get(row.uid)
        if at is None:
            return
        if state.lamps.due[at] == NOTHING_DUE and state.lamps.source[at] == DueSource.LOCKOUT and state.at_ms:
            raise FailedPrecondition.of("name", f"the contactor of {name} is locked out")
        if not state.columns.commanded[at]:
            raise FailedPrecondition.of("name", f"{name} is reduced by something else than commands and only observed")
        blinks = any(r.luminaire_uid == row.uid for r in self.parts.memory.known.orders.identifications)
        source = DueSource(int(state.lamps.source[at]))
        if source is DueSource.EMERGENCY or (source is DueSource.MAINTENANCE and not blinks):
            raise FailedPrecondition.of("name", f"{name} follows a command of {source.name.lower()}: end that first")
        cabinet = int(state.columns.cabinet[at])
        live = state.cabinets.get(state.columns.inventory.cabinets[cabinet].uid) if cabinet >= 0 else None
        if live is not None and live.switch == Switch.OFF:
            raise FailedPrecondition.of("name", f"the switch of the cabinet of {name} stands in 0")

    def _low(self, session: Session, tenant: Tenant, row: LuminaireRow, start: datetime, end: datetime) -> int:
        """How dark it becomes. Raises FailedPrecondition where nobody would see it blink."""
        lamp = next(iter(lamps_of(session, tenant, [row.uid], to_unix_ms(start))))
        night = _is_night(lamp, start) or _is_night(lamp, end)
        floor = floor_over(floor_of(lamp.floor_permille), lamp.waivers, to_unix_ms(start), to_unix_ms(end))
        low = low_permille(floor, dimmable=not lamp.conflict_area, night=night)
        if low > LARGEST_LOW_PERMILLE:
            why = "stands in a conflict area" if lamp.conflict_area else f"has a floor of {floor} per mille"
            raise FailedPrecondition.of("name", f"{lamp.name} {why} and is not dimmed by night: let it blink by day")
        return min(low, FULL_PERMILLE)


def _wanted(session: Session, tenant: Tenant, request: pb.ProtectLuminairesRequest, reach: Reach) -> list[str]:
    """Uids of the luminaires with a gateway that are meant, each once. Raises InvalidInput, NotPermitted."""
    conditions: list[Any] = []
    for collection, table, column in (
        ("gateways", GatewayRow, col(LuminaireRow.gateway_uid)),
        ("groups", GroupRow, col(LuminaireRow.group_uid)),
        ("luminaires", LuminaireRow, col(LuminaireRow.uid)),
    ):
        given = list(getattr(request, collection))
        ids = [ResourceName.parse(n, field=collection, collection=collection).id for n in given]
        found = uids_of(session, tenant, collection, ids)
        for index, (name, identifier) in enumerate(zip(given, ids, strict=True)):
            if identifier not in found:
                raise InvalidInput.of(f"{collection}[{index}]", f"{name} does not exist")
            reach.require(session.get(table, found[identifier]), name)
        uids = list(found.values())
        conditions += [column.in_(uids[at : at + 500]) for at in range(0, len(uids), 500)]
    members: dict[str, None] = {}
    for condition in conditions:
        query = (
            select(LuminaireRow.uid)
            .where(LuminaireRow.municipality_uid == tenant.uid)
            .where(LuminaireRow.deleted_at_ms == 0)
            .where(col(LuminaireRow.gateway_uid).is_not(None))
            .where(condition)
        )
        members.update(dict.fromkeys(session.exec(query)))
    return list(members)


def _protection(tenant: Tenant, lamp: LuminaireRow, row: ProtectionRow | None, names: Names) -> pb.LuminaireProtection:
    """What is known of one luminaire."""
    answer = pb.LuminaireProtection(
        luminaire=LUMINAIRES.name(tenant.id, lamp.id),
        state=pb.PROTECTION_STATE_NOT_ASKED,
        gateway=names.of("gateways", lamp.gateway_uid),
    )
    if row is None:
        return answer
    answer.state = _state(row)
    answer.power_on_permille, answer.communication_loss_permille = (
        row.power_on_permille,
        row.communication_loss_permille,
    )
    answer.asked_at.CopyFrom(timestamp_to_proto(from_unix_ms(row.asked_ms)))
    answer.author = row.author
    if row.read_ms:
        answer.read_at.CopyFrom(timestamp_to_proto(from_unix_ms(row.read_ms)))
        if row.read_power_on is not None:
            answer.read_power_on_permille = row.read_power_on
        if row.read_communication_loss is not None:
            answer.read_communication_loss_permille = row.read_communication_loss
    return answer


def _state(row: ProtectionRow) -> pb.ProtectionState.ValueType:
    if row.seen_for_ms == 0:
        return pb.PROTECTION_STATE_PENDING
    if not row.supported:
        return pb.PROTECTION_STATE_UNSUPPORTED
    return pb.PROTECTION_STATE_PROTECTED if row.confirmed else pb.PROTECTION_STATE_NOT_CONFIRMED


def _is_night(lamp: Lamp, at: datetime) -> bool:
    """Whether the sun is down; without a place it may be."""
    if isnan(lamp.latitude_deg) or isnan(lamp.longitude_deg):
        return True
    return bool(elevation_deg(lamp.latitude_deg, lamp.longitude_deg, at) < SUNSET_DEG)
