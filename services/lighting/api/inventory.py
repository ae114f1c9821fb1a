"""Methods about the inventory: six kinds of resources, one way to create, get, list, change and delete them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from sqlmodel import Session

from domain.errors import AlreadyExists, InvalidInput
from domain.names import ResourceName, new_uid
from domain.plan import to_unix_ms
from lichtbuch.lighting.v1 import inventory_pb2 as inv
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from servicekit import audit
from servicekit.context import Tenant, current_tenant, current_tenants, scope_aware
from servicekit.convert import apply_mask, check_etag, mask_paths, optional_timestamp_from_proto
from servicekit.idempotency import once
from servicekit.paging import page
from services.lighting.api import convert
from services.lighting.api.calls import LARGEST_PAGE, Calls, Context
from services.lighting.api.past import Past
from services.lighting.api.reach import Reach
from services.lighting.inventory import DEFAULT_GROUP
from services.lighting.store import inventory as store
from services.lighting.store.grouping import regroup
from services.lighting.store.holding_floors import holding_floors
from services.lighting.store.inventory import CABINETS, FEEDERS, GATEWAYS, GROUPS, LUMINAIRES, MODELS, Kind
from services.lighting.store.luminaires import (
    GroupSummary,
    cabinets_by_feeder,
    check_address,
    default_group,
    group_summaries,
    in_cabinets,
    in_group,
)
from services.lighting.store.names import Names, uid_of
from services.lighting.store.revisions import INVENTORY, wait_for_others
from services.lighting.store.tables import (
    CabinetRow,
    FeederRow,
    GatewayRow,
    GroupRow,
    LuminaireModelRow,
    LuminaireRow,
    Named,
)
from services.lighting.store.wiring import check_contactors

Row = TypeVar("Row", bound=Named)
Proto = TypeVar("Proto", bound=Message)


@dataclass(frozen=True)
class Resource(Generic[Row, Proto]):
    """How one kind is told of: its message, the fields a client may set, and the way there and back."""

    kind: Kind[Row]
    message: type[Proto]
    settable: tuple[str, ...]
    values: Callable[[Session, Tenant, Any, int], dict[str, Any]]
    show: Callable[[Session, Sequence[tuple[Tenant, Row]], int], list[Proto]]
    """What is told of rows at an instant in Unix ms, which is now."""
    show_then: Callable[[Session, Sequence[tuple[Tenant, Row]], Past], list[Proto]] | None = None

    def then(self, session: Session, rows: Sequence[tuple[Tenant, Row]], past: Past) -> list[Proto]:
        """Messages of rows as they stood at an instant."""
        return self.show(session, rows, past.at_ms) if self.show_then is None else self.show_then(session, rows, past)


def shown(convert_row: Callable[[Any, Tenant, Names], Any], *collections: str) -> Callable[..., list[Any]]:
    """Messages of rows whose references are names of these collections."""

    def show(session: Session, rows: Sequence[tuple[Tenant, Any]], _now_ms: int) -> list[Any]:
        names = Names(session, {tenant.uid: tenant for tenant, _ in rows}.values())
        if len(rows) > 1:
            names.preload(*collections)
        return [convert_row(row, tenant, names) for tenant, row in rows]

    return show


def _show_groups(session: Session, rows: Sequence[tuple[Tenant, GroupRow]], now_ms: int) -> list[inv.Group]:
    uids = [row.uid for _, row in rows]
    holding = holding_floors(session, [tenant for tenant, _ in rows], uids, now_ms)
    return _groups(session, rows, group_summaries(session, uids), holding)


def _show_groups_then(session: Session, rows: Sequence[tuple[Tenant, GroupRow]], past: Past) -> list[inv.Group]:
    tenants = [tenant for tenant, _ in rows]
    return _groups(session, rows, past.summaries(tenants), past.holding_floors(tenants))


def _groups(
    session: Session,
    rows: Sequence[tuple[Tenant, GroupRow]],
    summaries: Mapping[str, GroupSummary],
    holding: Mapping[str, int],
) -> list[inv.Group]:
    names = Names(session, {tenant.uid: tenant for tenant, _ in rows}.values())
    found = []
    for tenant, row in rows:
        summary = summaries.get(row.uid, GroupSummary())
        floor = holding.get(row.uid, summary.floor_permille)
        found.append(convert.group_to_proto(row, tenant, summary, floor, names))
    return found


def _show_luminaires(
    session: Session, rows: Sequence[tuple[Tenant, LuminaireRow]], _now_ms: int
) -> list[inv.Luminaire]:
    return _luminaires(session, rows, cabinets_by_feeder(session, list({tenant.uid for tenant, _ in rows})))


def _show_luminaires_then(
    session: Session, rows: Sequence[tuple[Tenant, LuminaireRow]], past: Past
) -> list[inv.Luminaire]:
    return _luminaires(session, rows, past.cabinets_by_feeder([tenant for tenant, _ in rows]))


def _luminaires(
    session: Session, rows: Sequence[tuple[Tenant, LuminaireRow]], cabinets: Mapping[str, str]
) -> list[inv.Luminaire]:
    names = Names(session, {tenant.uid: tenant for tenant, _ in rows}.values())
    if len(rows) > 1:
        names.preload("luminaireModels", "feeders", "gateways", "groups", "cabinets")
    return [
        convert.luminaire_to_proto(row, tenant, names, cabinets.get(row.feeder_uid or "", "")) for tenant, row in rows
    ]


CABINET = Resource(
    CABINETS, inv.Cabinet,
    ("display_name", "street", "position", "controller", "switching_owner", "foreign_loads", "inrush_step_ms"),
    convert.cabinet_values, shown(convert.cabinet_to_proto, "endpoints"),
)  # fmt: skip
FEEDER = Resource(
    FEEDERS, inv.Feeder,
    (
        "cabinet", "channel", "phase", "supply", "reduction", "reduced_from", "reduced_until",
        "reduced_power_permille", "inrush_step_ms",
    ),
    convert.feeder_values, shown(convert.feeder_to_proto, "cabinets"),
)  # fmt: skip
GATEWAY = Resource(
    GATEWAYS, inv.Gateway, ("cabinet", "endpoint", "gear_groups"),
    convert.gateway_values, shown(convert.gateway_to_proto, "cabinets", "endpoints"),
)  # fmt: skip
MODEL = Resource(
    MODELS, inv.LuminaireModel,
    (
        "display_name", "rated_power_w", "standby_power_w", "luminous_flux_lm", "colour_temperature_k", "curve", "clo",
        "clo_by", "least_level_permille", "stored_profile",
    ),
    convert.model_values, shown(convert.model_to_proto),
)  # fmt: skip
GROUP = Resource(GROUPS, inv.Group, ("display_name", "rule"), convert.group_values, _show_groups, _show_groups_then)
LUMINAIRE = Resource(
    LUMINAIRES, inv.Luminaire,
    (
        "pole", "street", "position", "model", "feeder", "gateway", "gateway_address", "group", "lighting_class",
        "floor_permille", "conflict_area", "installed_on", "installed_power_w", "previous", "lamp_technology",
        "reduction", "virtual_output_permille", "initial_burning_hours",
    ),
    convert.luminaire_values, _show_luminaires, _show_luminaires_then,
)  # fmt: skip


class InventoryCalls(Calls):
    """Cabinets, feeders, gateways, luminaire models, luminaires, groups."""

    async def CreateCabinet(self, request: pb.CreateCabinetRequest, context: Context) -> inv.Cabinet:
        """A new cabinet."""
        if request.cabinet.controller:
            await self.parts.endpoints.uid_of(current_tenant(), request.cabinet.controller, "cabinet.controller")
        return await self._create(CABINET, request, request.cabinet, request.cabinet_id)

    @scope_aware
    async def GetCabinet(self, request: pb.GetCabinetRequest, context: Context) -> inv.Cabinet:
        """A cabinet."""
        return await self._get(CABINET, request.name, self._at_ms(request))

    @scope_aware
    async def ListCabinets(self, request: pb.ListCabinetsRequest, context: Context) -> pb.ListCabinetsResponse:
        """Cabinets by name."""
        found, token = await self._list(CABINET, request)
        return pb.ListCabinetsResponse(cabinets=found, next_page_token=token)

    async def UpdateCabinet(self, request: pb.UpdateCabinetRequest, context: Context) -> inv.Cabinet:
        """Changes a cabinet."""
        if request.cabinet.controller:
            await self.parts.endpoints.uid_of(current_tenant(), request.cabinet.controller, "cabinet.controller")
        return await self._update(CABINET, request.cabinet, request)

    async def DeleteCabinet(self, request: pb.DeleteCabinetRequest, context: Context) -> inv.Cabinet:
        """Deletes a cabinet that nothing refers to."""
        return await self._delete(CABINET, request.name, request.reason)

    async def CreateFeeder(self, request: pb.CreateFeederRequest, context: Context) -> inv.Feeder:
        """A new feeder."""
        return await self._create(FEEDER, request, request.feeder, request.feeder_id)

    @scope_aware
    async def GetFeeder(self, request: pb.GetFeederRequest, context: Context) -> inv.Feeder:
        """A feeder."""
        return await self._get(FEEDER, request.name, self._at_ms(request))

    @scope_aware
    async def ListFeeders(self, request: pb.ListFeedersRequest, context: Context) -> pb.ListFeedersResponse:
        """Feeders by name."""
        found, token = await self._list(FEEDER, request)
        return pb.ListFeedersResponse(feeders=found, next_page_token=token)

    async def UpdateFeeder(self, request: pb.UpdateFeederRequest, context: Context) -> inv.Feeder:
        """Changes a feeder."""
        return await self._update(FEEDER, request.feeder, request)

    async def DeleteFeeder(self, request: pb.DeleteFeederRequest, context: Context) -> inv.Feeder:
        """Deletes a feeder that nothing refers to and nobody has locked out."""
        return await self._delete(FEEDER, request.name, request.reason)

    async def CreateGateway(self, request: pb.CreateGatewayRequest, context: Context) -> inv.Gateway:
        """A new gateway."""
        await self.parts.endpoints.uid_of(current_tenant(), request.gateway.endpoint, "gateway.endpoint")
        return await self._create(GATEWAY, request, request.gateway, request.gateway_id)

    @scope_aware
    async def GetGateway(self, request: pb.GetGatewayRequest, context: Context) -> inv.Gateway:
        """A gateway."""
        return await self._get(GATEWAY, request.name, self._at_ms(request))

    @scope_aware
    async def ListGateways(self, request: pb.ListGatewaysRequest, context: Context) -> pb.ListGatewaysResponse:
        """Gateways by name."""
        found, token = await self._list(GATEWAY, request)
        return pb.ListGatewaysResponse(gateways=found, next_page_token=token)

    async def UpdateGateway(self, request: pb.UpdateGatewayRequest, context: Context) -> inv.Gateway:
        """Changes a gateway."""
        if request.gateway.endpoint:
            await self.parts.endpoints.uid_of(current_tenant(), request.gateway.endpoint, "gateway.endpoint")
        return await self._update(GATEWAY, request.gateway, request)

    async def DeleteGateway(self, request: pb.DeleteGatewayRequest, context: Context) -> inv.Gateway:
        """Deletes a gateway that no luminaire refers to."""
        return await self._delete(GATEWAY, request.name, request.reason)

    async def CreateLuminaireModel(
        self, request: pb.CreateLuminaireModelRequest, context: Context
    ) -> inv.LuminaireModel:
        """A new luminaire model."""
        return await self._create(MODEL, request, request.luminaire_model, request.luminaire_model_id)

    @scope_aware
    async def GetLuminaireModel(self, request: pb.GetLuminaireModelRequest, context: Context) -> inv.LuminaireModel:
        """A luminaire model."""
        return await self._get(MODEL, request.name, self._at_ms(request))

    @scope_aware
    async def ListLuminaireModels(
        self, request: pb.ListLuminaireModelsRequest, context: Context
    ) -> pb.ListLuminaireModelsResponse:
        """Luminaire models by name."""
        found, token = await self._list(MODEL, request)
        return pb.ListLuminaireModelsResponse(luminaire_models=found, next_page_token=token)

    async def UpdateLuminaireModel(
        self, request: pb.UpdateLuminaireModelRequest, context: Context
    ) -> inv.LuminaireModel:
        """Changes a luminaire model."""
        return await self._update(MODEL, request.luminaire_model, request)

    async def DeleteLuminaireModel(
        self, request: pb.DeleteLuminaireModelRequest, context: Context
    ) -> inv.LuminaireModel:
        """Deletes a luminaire model that no luminaire is of."""
        return await self._delete(MODEL, request.name, request.reason)

    async def CreateLuminaire(self, request: pb.CreateLuminaireRequest, context: Context) -> inv.Luminaire:
        """A new luminaire."""
        return await self._create(LUMINAIRE, request, request.luminaire, request.luminaire_id)

    @scope_aware
    async def GetLuminaire(self, request: pb.GetLuminaireRequest, context: Context) -> inv.Luminaire:
        """A luminaire."""
        return await self._get(LUMINAIRE, request.name, self._at_ms(request))

    @scope_aware
    async def ListLuminaires(self, request: pb.ListLuminairesRequest, context: Context) -> pb.ListLuminairesResponse:
        """Luminaires by name, all or those of a group or a cabinet."""

        def filters(session: Session, tenant: Tenant) -> list[Any]:
            conditions = []
            if request.group:
                group = uid_of(session, tenant, "groups", request.group, "group")
                conditions.append(in_group(group or ""))
            if request.cabinet:
                cabinet = uid_of(session, tenant, "cabinets", request.cabinet, "cabinet")
                conditions.append(in_cabinets([cabinet or ""]))
            return conditions

        def filters_then(past: Past, tenant: Tenant) -> Callable[[Any], bool]:
            group = past.uid_of(GROUPS, tenant, request.group, "group")
            cabinet = past.uid_of(CABINETS, tenant, request.cabinet, "cabinet")
            return lambda row: (
                (not group or row.group_uid == group) and (not cabinet or past.cabinet_of(tenant, row) == cabinet)
            )

        found, token = await self._list(LUMINAIRE, request, filters, filters_then)
        return pb.ListLuminairesResponse(luminaires=found, next_page_token=token)

    async def UpdateLuminaire(self, request: pb.UpdateLuminaireRequest, context: Context) -> inv.Luminaire:
        """Changes a luminaire."""
        return await self._update(LUMINAIRE, request.luminaire, request)

    async def DeleteLuminaire(self, request: pb.DeleteLuminaireRequest, context: Context) -> inv.Luminaire:
        """Deletes a luminaire; its history stays."""
        return await self._delete(LUMINAIRE, request.name, request.reason)

    async def CreateGroup(self, request: pb.CreateGroupRequest, context: Context) -> inv.Group:
        """A new group."""
        if request.group_id == DEFAULT_GROUP and request.group.HasField("rule"):
            raise InvalidInput.of("group.rule", f'the group "{DEFAULT_GROUP}" takes what no rule takes')
        return await self._create(GROUP, request, request.group, request.group_id)

    async def GetGroup(self, request: pb.GetGroupRequest, context: Context) -> inv.Group:
        """A group."""
        return await self._get(GROUP, request.name, self._at_ms(request))

    async def ListGroups(self, request: pb.ListGroupsRequest, context: Context) -> pb.ListGroupsResponse:
        """Groups by name."""
        found, token = await self._list(GROUP, request)
        return pb.ListGroupsResponse(groups=found, next_page_token=token)

    async def UpdateGroup(self, request: pb.UpdateGroupRequest, context: Context) -> inv.Group:
        """Changes a group."""
        return await self._update(GROUP, request.group, request)

    async def DeleteGroup(self, request: pb.DeleteGroupRequest, context: Context) -> inv.Group:
        """Deletes a group without members."""
        return await self._delete(GROUP, request.name, request.reason)

    # --- what they have in common -----------------------------------------------------------------------------------

    async def _create(self, resource: Resource[Row, Proto], request: Message, given: Proto, identifier: str) -> Proto:
        tenant, now_ms = current_tenant(), self.now_ms

        def create(session: Session) -> Proto:
            def make() -> Proto:
                wait_for_others(session, INVENTORY)
                # Before anything else is said of it: what is there already is in its own way.
                if identifier and store.find(session, resource.kind, tenant.uid, identifier) is not None:
                    raise AlreadyExists(resource.kind.name(tenant.id, identifier))
                values = resource.values(session, tenant, given, now_ms)
                uid = new_uid()
                row = resource.kind.table(
                    uid=uid, municipality_uid=tenant.uid, id=identifier or uid, created_at_ms=now_ms, **values
                )
                if isinstance(row, LuminaireRow):
                    check_address(session, tenant, row, "luminaire.gateway_address")
                check_contactors(session, tenant, row, resource.kind.noun)
                store.add(session, resource.kind, tenant, row)
                if isinstance(row, GroupRow) and row.rule is not None:
                    regroup(session, tenant, default_group(session, tenant, now_ms).uid, now_ms)
                answer = resource.show(session, [(tenant, row)], now_ms)[0]
                audit.record(session, "", _name(answer), row.uid, tenant.uid, after=answer)
                return answer

            real = self.clock.real()
            return once(session, request, resource.message, make, municipality_uid=tenant.uid, real=real)

        return await self.database.run(create)

    async def _get(self, resource: Resource[Row, Proto], name: str, at_ms: int | None = None) -> Proto:
        tenant, identifier = current_tenant(), _id(resource.kind, name)

        def get(session: Session) -> Proto:
            if at_ms is not None:
                past = Past(session, at_ms)
                row = past.get(resource.kind, tenant, identifier)
                past.require(tenant, row, name)
                return resource.then(session, [(tenant, row)], past)[0]
            row = store.get(session, resource.kind, tenant, identifier)
            _require(session, tenant, row, name)
            return resource.show(session, [(tenant, row)], self.now_ms)[0]

        return await self.database.read(get)

    def _at_ms(self, request: Any) -> int | None:
        """The instant that is asked about, in Unix ms; None for now. Raises InvalidInput for one after now."""
        at = optional_timestamp_from_proto(request, "at")
        if at is None:
            return None
        if to_unix_ms(at) > self.now_ms:
            raise InvalidInput.of("at", f"is after now, which is {self.clock.now():%Y-%m-%d %H:%M:%S} UTC")
        return to_unix_ms(at)

    async def _list(
        self,
        resource: Resource[Row, Proto],
        request: Message,
        filters: Callable[[Session, Tenant], list[Any]] = lambda _session, _tenant: [],
        filters_then: Callable[[Past, Tenant], Callable[[Any], bool]] = lambda _past, _tenant: lambda _row: True,
    ) -> tuple[list[Proto], str]:
        tenants = current_tenants()
        at_ms = self._at_ms(request) if "at" in request.DESCRIPTOR.fields_by_name else None

        def find_then(session: Session) -> tuple[list[Proto], str]:
            past = Past(session, at_ms or 0)
            found = page(
                request,
                lambda after, limit: past.rows(resource.kind, tenants, after, limit, filters_then),
                lambda pair: (pair[0].id, pair[1].id),
                largest=LARGEST_PAGE,
            )
            return resource.then(session, found.items, past), found.next_page_token

        def find(session: Session) -> tuple[list[Proto], str]:
            def where(tenant: Tenant) -> Sequence[Any]:
                reach: Sequence[Any] = ()
                if resource.kind.table is not LuminaireModelRow and resource.kind.table is not GroupRow:
                    reach = Reach(session, tenant).conditions(resource.kind.table)
                return [*reach, *filters(session, tenant)]

            found = page(
                request,
                lambda after, limit: store.list_rows(session, resource.kind, tenants, after, limit, where),
                lambda pair: (pair[0].id, pair[1].id),
                largest=LARGEST_PAGE,
            )
            return resource.show(session, found.items, self.now_ms), found.next_page_token

        return await self.database.read(find if at_ms is None else find_then)

    async def _update(self, resource: Resource[Row, Proto], given: Any, request: Any) -> Proto:
        mask: FieldMask = request.update_mask
        reason: str = request.reason
        tenant, now_ms, identifier = current_tenant(), self.now_ms, _id(resource.kind, given.name)
        paths = mask_paths(mask, resource.settable)

        def update(session: Session) -> Proto:
            wait_for_others(session, INVENTORY)
            row = store.get(session, resource.kind, tenant, identifier, lock=True)
            check_etag(given.etag, convert.etag(row))
            before = resource.show(session, [(tenant, row)], now_ms)[0]
            wanted: Any = resource.message()
            wanted.CopyFrom(before)
            apply_mask(wanted, given, paths)
            if isinstance(row, LuminaireRow) and not row.group_given and not _is_regrouped(before, wanted, mask):
                wanted.group = ""
            values = resource.values(session, tenant, wanted, now_ms)
            store.check_wiring(session, row, values)
            if isinstance(row, LuminaireRow):
                asked = LuminaireRow(**{**row.model_dump(), **values})
                check_address(session, tenant, asked, "luminaire.gateway_address")
            if isinstance(row, FeederRow | CabinetRow):
                check_contactors(session, tenant, type(row)(**{**row.model_dump(), **values}), resource.kind.noun)
            rewired = isinstance(row, FeederRow | GatewayRow) and values["cabinet_uid"] != row.cabinet_uid
            if not store.change(session, row, values, now_ms, reason):
                return before
            if rewired or isinstance(row, GroupRow):
                regroup(session, tenant, default_group(session, tenant, now_ms).uid, now_ms)
            after = resource.show(session, [(tenant, row)], now_ms)[0]
            audit.record(session, "", _name(after), row.uid, tenant.uid, before=before, after=after, reason=reason)
            return after

        return await self.database.run(update)

    async def _delete(self, resource: Resource[Row, Proto], name: str, reason: str) -> Proto:
        tenant, now_ms, identifier = current_tenant(), self.now_ms, _id(resource.kind, name)

        def delete(session: Session) -> Proto:
            wait_for_others(session, INVENTORY)
            row = store.get(session, resource.kind, tenant, identifier, lock=True)
            before = resource.show(session, [(tenant, row)], now_ms)[0]
            if isinstance(row, GroupRow) and row.rule is not None:
                regroup(session, tenant, default_group(session, tenant, now_ms).uid, now_ms, without=row.uid)
            store.delete(session, resource.kind, tenant, row, now_ms, reason)
            audit.record(session, "", name, row.uid, tenant.uid, before=before, reason=reason)
            return before

        return await self.database.run(delete)


def _id(kind: Kind[Any], name: str) -> str:
    return ResourceName.parse(name, collection=kind.collection).id


def _is_regrouped(before: Any, wanted: Any, mask: FieldMask) -> bool:
    """Whether an update puts a luminaire into a group by name, and does not only repeat where the rules put it."""
    return "group" in mask.paths or bool(wanted.group != before.group)


def _name(message: Any) -> str:
    return str(message.name)


def _require(session: Session, tenant: Tenant, row: Named, name: str) -> None:
    if not isinstance(row, LuminaireModelRow):
        Reach(session, tenant).require(row, name)
