"""Methods about municipalities and unions."""

from sqlmodel import Session

from domain.errors import InvalidInput
from domain.names import MUNICIPALITIES, WILDCARD, ResourceName, new_uid
from lichtbuch.registry.v1 import registry_pb2 as pb
from servicekit import audit
from servicekit.access import Caller, role_may
from servicekit.context import current_caller, current_tenant
from servicekit.convert import check_etag, mask_paths
from servicekit.idempotency import once
from servicekit.paging import page
from services.registry.api.calls import LARGEST_PAGE, Calls, Context
from services.registry.convert import (
    municipality_etag,
    municipality_to_proto,
    position_from_proto,
    union_to_proto,
)
from services.registry.municipality import (
    Municipality,
    Union,
    check_display_name,
    check_members,
    check_time_zone,
)
from services.registry.store import municipalities as store
from services.registry.store.municipalities import EVERYTHING, Visible

_SETTABLE = ("display_name", "time_zone", "position", "synthetic")


class MunicipalityCalls(Calls):
    """Creates, shows and changes municipalities; creates and shows unions."""

    async def CreateMunicipality(self, request: pb.CreateMunicipalityRequest, context: Context) -> pb.Municipality:
        """For whoever administers every municipality."""
        current_caller().require("registry.municipalities.create", WILDCARD)
        given = request.municipality
        try:
            municipality = Municipality(
                uid=new_uid(),
                id=request.municipality_id,
                display_name=check_display_name(given.display_name),
                time_zone=check_time_zone(given.time_zone),
                position=position_from_proto(given),
                created_at=self.clock.now(),
                synthetic=given.synthetic,
            )
        except InvalidInput as error:
            raise error.under("municipality") from error
        answer = municipality_to_proto(municipality)

        def create(session: Session) -> pb.Municipality:
            def store_it() -> pb.Municipality:
                store.add_municipality(session, municipality)
                audit.record(session, "", answer.name, municipality.uid, municipality.uid, after=answer)
                return answer

            return once(session, request, pb.Municipality, store_it, municipality_uid="", real=self.clock.real())

        return await self.database.run(create)

    async def GetMunicipality(self, request: pb.GetMunicipalityRequest, context: Context) -> pb.Municipality:
        """One municipality."""
        uid = current_tenant().uid
        return municipality_to_proto(await self.database.read(lambda session: store.get_municipality(session, uid)))

    async def ListMunicipalities(
        self, request: pb.ListMunicipalitiesRequest, context: Context
    ) -> pb.ListMunicipalitiesResponse:
        """What the caller may see, in the order of the ids."""
        visible = visible_to(current_caller(), "registry.municipalities.read")
        found = await self.database.read(
            lambda session: page(
                request,
                lambda after, limit: store.list_municipalities(session, visible, after_id=_text(after), limit=limit),
                lambda municipality: [municipality.id],
                largest=LARGEST_PAGE,
            )
        )
        return pb.ListMunicipalitiesResponse(
            municipalities=[municipality_to_proto(municipality) for municipality in found.items],
            next_page_token=found.next_page_token,
        )

    async def UpdateMunicipality(self, request: pb.UpdateMunicipalityRequest, context: Context) -> pb.Municipality:
        """Changes what the mask names. Changing nothing makes no new version."""
        given, uid = request.municipality, current_tenant().uid
        paths = mask_paths(request.update_mask, _SETTABLE)

        def update(session: Session) -> pb.Municipality:
            before = store.get_municipality(session, uid, lock=True)
            check_etag(given.etag, municipality_etag(before))
            try:
                after = before.changed(
                    display_name=given.display_name if "display_name" in paths else None,
                    time_zone=given.time_zone if "time_zone" in paths else None,
                    position=position_from_proto(given) if "position" in paths else None,
                    synthetic=given.synthetic if "synthetic" in paths else None,
                )
            except InvalidInput as error:
                raise error.under("municipality") from error
            if after == before:
                return municipality_to_proto(before)
            answer = municipality_to_proto(store.replace_municipality(session, after))
            audit.record(session, "", answer.name, uid, uid, before=municipality_to_proto(before), after=answer)
            return answer

        return await self.database.run(update)

    async def CreateUnion(self, request: pb.CreateUnionRequest, context: Context) -> pb.Union:
        """For whoever administers every member."""
        given, caller = request.municipal_union, current_caller()
        try:
            members = check_members(
                [
                    ResourceName.parse(name, field=f"municipalities[{index}]", collection=MUNICIPALITIES).municipality
                    for index, name in enumerate(given.municipalities)
                ]
            )
            union = Union(new_uid(), request.union_id, check_display_name(given.display_name), members)
        except InvalidInput as error:
            raise error.under("municipal_union") from error
        for member in members:
            caller.require("registry.unions.create", member)
        answer = union_to_proto(union)

        def create(session: Session) -> pb.Union:
            def store_it() -> pb.Union:
                try:
                    uids = store.add_union(session, union, self.clock.now())
                except InvalidInput as error:
                    raise error.under("municipal_union") from error
                for uid in uids:  # each member's trail tells of it
                    audit.record(session, "", answer.name, union.uid, uid, after=answer)
                return answer

            return once(session, request, pb.Union, store_it, municipality_uid="", real=self.clock.real())

        return await self.database.run(create)

    async def ListUnions(self, request: pb.ListUnionsRequest, context: Context) -> pb.ListUnionsResponse:
        """Unions of which the caller may see every member."""
        visible = visible_to(current_caller(), "registry.unions.read")
        found = await self.database.read(
            lambda session: page(
                request,
                lambda after, limit: store.list_unions(session, visible, after_id=_text(after), limit=limit),
                lambda union: [union.id],
                largest=LARGEST_PAGE,
            )
        )
        return pb.ListUnionsResponse(
            unions=[union_to_proto(union) for union in found.items], next_page_token=found.next_page_token
        )


def visible_to(caller: Caller, permission: str) -> Visible:
    """The municipalities in which a caller holds a permission."""
    if caller.may(permission, WILDCARD):
        return EVERYTHING
    return Visible(frozenset(binding.municipality for binding in caller.bindings if role_may(binding.role, permission)))


def _text(after: list[str | int | None] | None) -> str | None:
    return None if after is None else str(after[0])
