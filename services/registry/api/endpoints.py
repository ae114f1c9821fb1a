"""Methods about field endpoints."""

from sqlmodel import Session

from domain.errors import FailedPrecondition, InvalidInput
from domain.names import ResourceName, new_uid
from lichtbuch.registry.v1 import registry_pb2 as pb
from servicekit import audit
from servicekit.context import current_caller, current_tenant, current_tenants
from servicekit.convert import check_etag, mask_paths
from servicekit.idempotency import once
from servicekit.paging import page
from services.registry.api.calls import LARGEST_PAGE, Calls, Context
from services.registry.convert import (
    endpoint_etag,
    endpoint_to_proto,
    link_from_proto,
    owner_from_proto,
    state_from_proto,
)
from services.registry.endpoint import Endpoint, check_display_name, check_profile
from services.registry.field_url import parse_field_url
from services.registry.store import endpoints as store

_SETTABLE = ("display_name", "url", "profile", "link")


class EndpointCalls(Calls):
    """Registers endpoints, changes them, and moves them into control and out of it."""

    async def CreateEndpoint(self, request: pb.CreateEndpointRequest, context: Context) -> pb.Endpoint:
        """A new endpoint is planned: nobody connects to it."""
        given, tenant = request.endpoint, current_tenant()
        try:
            endpoint = Endpoint(
                uid=new_uid(),
                municipality_uid=tenant.uid,
                id=request.endpoint_id,
                display_name=check_display_name(given.display_name),
                address=parse_field_url(given.url),
                profile=check_profile(given.profile),
                owner=owner_from_proto(given.owner),
                link=link_from_proto(given.link),
            )
        except InvalidInput as error:
            raise error.under("endpoint") from error
        answer = endpoint_to_proto(tenant.id, endpoint)

        def create(session: Session) -> pb.Endpoint:
            def store_it() -> pb.Endpoint:
                try:
                    store.add_endpoint(session, store.Placed(tenant.id, endpoint), self.clock.now())
                except FailedPrecondition as error:
                    raise error.under("endpoint") from error
                audit.record(session, "", answer.name, endpoint.uid, tenant.uid, after=answer)
                return answer

            return once(session, request, pb.Endpoint, store_it, municipality_uid=tenant.uid, real=self.clock.real())

        return await self.database.run(create)

    async def GetEndpoint(self, request: pb.GetEndpointRequest, context: Context) -> pb.Endpoint:
        """One endpoint."""
        tenant, name = current_tenant(), ResourceName.parse(request.name, collection="endpoints")
        endpoint = await self.database.read(lambda session: store.get_endpoint(session, tenant.uid, name))
        return endpoint_to_proto(tenant.id, endpoint)

    async def ListEndpoints(self, request: pb.ListEndpointsRequest, context: Context) -> pb.ListEndpointsResponse:
        """Endpoints of a municipality, or of all that the caller may see, optionally of one owner."""
        uids = [tenant.uid for tenant in current_tenants()]
        owner = owner_from_proto(request.owner) if request.owner else None
        found = await self.database.read(
            lambda session: page(
                request,
                lambda after, limit: store.list_endpoints(
                    session,
                    uids,
                    owner=owner,
                    after=None if after is None else (str(after[0]), str(after[-1])),
                    limit=limit,
                ),
                lambda placed: [placed.municipality_id, placed.endpoint.id],
                largest=LARGEST_PAGE,
            )
        )
        return pb.ListEndpointsResponse(
            endpoints=[endpoint_to_proto(placed.municipality_id, placed.endpoint) for placed in found.items],
            next_page_token=found.next_page_token,
        )

    async def UpdateEndpoint(self, request: pb.UpdateEndpointRequest, context: Context) -> pb.Endpoint:
        """Changes what the mask names. Another address or profile takes it out of control."""
        given, tenant = request.endpoint, current_tenant()
        name = ResourceName.parse(given.name, field="endpoint.name", collection="endpoints")
        paths = mask_paths(request.update_mask, _SETTABLE)

        def update(session: Session) -> pb.Endpoint:
            before = store.get_endpoint(session, tenant.uid, name, lock=True)
            check_etag(given.etag, endpoint_etag(before))
            try:
                after = before.changed(
                    display_name=given.display_name if "display_name" in paths else None,
                    url=given.url if "url" in paths else None,
                    profile=given.profile if "profile" in paths else None,
                    link=link_from_proto(given.link) if "link" in paths else None,
                )
                return self._stored(session, tenant.id, before, after)
            except (InvalidInput, FailedPrecondition) as error:
                raise error.under("endpoint") from error

        return await self.database.run(update)

    async def TransitionEndpoint(self, request: pb.TransitionEndpointRequest, context: Context) -> pb.Endpoint:
        """Moves an endpoint on its way into control, or back."""
        tenant, caller = current_tenant(), current_caller()
        name = ResourceName.parse(request.name, collection="endpoints")
        target, now = state_from_proto(request.state), self.clock.now()

        def move(session: Session) -> pb.Endpoint:
            before = store.get_endpoint(session, tenant.uid, name, lock=True)
            after = before.moved_to(target, by=caller.subject, is_person=not caller.is_service, at=now)
            return self._stored(session, tenant.id, before, after, request.reason)

        return await self.database.run(move)

    @staticmethod
    def _stored(
        session: Session, municipality_id: str, before: Endpoint, after: Endpoint, reason: str = ""
    ) -> pb.Endpoint:
        """The answer for a changed endpoint, stored and in the audit trail; no new version where nothing changed."""
        was = endpoint_to_proto(municipality_id, before)
        if after == before:
            return was
        answer = endpoint_to_proto(municipality_id, store.replace_endpoint(session, before, after))
        audit.record(
            session, "", answer.name, after.uid, after.municipality_uid, before=was, after=answer, reason=reason
        )
        return answer
