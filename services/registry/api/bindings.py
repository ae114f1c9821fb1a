"""Methods about people's roles, and what services ask about them."""

from sqlmodel import Session

from domain.errors import InvalidInput, NotFound
from domain.names import MUNICIPALITIES, WILDCARD, ResourceName, new_uid
from lichtbuch.registry.v1 import registry_pb2 as pb
from servicekit import audit
from servicekit.access_source import role_from_proto
from servicekit.context import current_caller, current_tenants
from servicekit.convert import optional_timestamp_from_proto
from servicekit.idempotency import once
from servicekit.paging import page
from services.registry.api.calls import LARGEST_PAGE, Calls, Context
from services.registry.convert import binding_name, binding_to_proto
from services.registry.roles import RoleBinding, check_binding
from services.registry.store import bindings as store
from services.registry.store.municipalities import uids_of


class BindingCalls(Calls):
    """Gives and takes roles, lists them, and answers what a person may do."""

    async def CreateRoleBinding(self, request: pb.CreateRoleBindingRequest, context: Context) -> pb.RoleBinding:
        """For whoever administers the municipality; with "-" for whoever administers every one."""
        parent = ResourceName.parse(
            request.parent, field="parent", collection=MUNICIPALITIES, allow_wildcard=True
        ).municipality
        current_caller().require("registry.roles.create", parent)
        given, real = request.role_binding, self.clock.real()
        try:
            role = role_from_proto(given.role)
            expires_at = optional_timestamp_from_proto(given, "expires_at")
            scopes = check_binding(
                municipality_id=parent,
                subject=given.subject,
                role=role,
                scopes=given.scopes,
                expires_at=expires_at,
                now=real,
            )
        except InvalidInput as error:
            raise error.under("role_binding") from error

        def create(session: Session) -> pb.RoleBinding:
            municipality_uid = _uid_of(session, parent)

            def store_it() -> pb.RoleBinding:
                binding = RoleBinding(new_uid(), municipality_uid, parent, given.subject, role, scopes, expires_at)
                store.add_binding(session, binding, real)
                answer = binding_to_proto(binding)
                audit.record(session, "", answer.name, binding.uid, municipality_uid, after=answer)
                return answer

            return once(session, request, pb.RoleBinding, store_it, municipality_uid=municipality_uid, real=real)

        return await self.database.run(create)

    async def ListRoleBindings(
        self, request: pb.ListRoleBindingsRequest, context: Context
    ) -> pb.ListRoleBindingsResponse:
        """Bindings of a municipality, ended ones too; of all that the caller may see with "-"."""
        uids = [tenant.uid for tenant in current_tenants()]
        is_wildcard = ResourceName.parse(request.parent, field="parent", allow_wildcard=True).is_wildcard
        of_every_one = is_wildcard and current_caller().may("registry.roles.read", WILDCARD)
        found = await self.database.read(
            lambda session: page(
                request,
                lambda after, limit: store.list_bindings(
                    session,
                    uids,
                    of_every_one=of_every_one,
                    after_uid=None if after is None else str(after[0]),
                    limit=limit,
                ),
                lambda binding: [binding.uid],
                largest=LARGEST_PAGE,
            )
        )
        return pb.ListRoleBindingsResponse(
            role_bindings=[binding_to_proto(binding) for binding in found.items],
            next_page_token=found.next_page_token,
        )

    async def DeleteRoleBinding(self, request: pb.DeleteRoleBindingRequest, context: Context) -> pb.RoleBinding:
        """For whoever administers the municipality; answers what was removed."""
        name = ResourceName.parse(request.name, collection="roleBindings", allow_wildcard=True)
        if not name.municipality:
            raise InvalidInput.of("name", "municipalities/{id}/roleBindings/{id} is needed")
        current_caller().require("registry.roles.delete", name.municipality)

        def delete(session: Session) -> pb.RoleBinding:
            municipality_uid = _uid_of(session, name.municipality)
            removed = store.remove_binding(session, municipality_uid, name.id)
            answer = binding_to_proto(removed)
            audit.record(
                session,
                "",
                binding_name(removed),
                removed.uid,
                municipality_uid,
                before=answer,
                reason=request.reason,
            )
            return answer

        return await self.database.run(delete)

    async def GetAccess(self, request: pb.GetAccessRequest, context: Context) -> pb.Access:
        """What a person holds now. For services only."""
        current_caller().require("registry.access.read", WILDCARD)
        real = self.clock.real()
        bindings = await self.database.read(lambda session: store.bindings_of(session, request.subject, real))
        return pb.Access(subject=request.subject, bindings=[binding_to_proto(binding) for binding in bindings])


def _uid_of(session: Session, municipality_id: str) -> str:
    """The uid behind an alias; "" for every municipality. Raises NotFound."""
    if municipality_id == WILDCARD:
        return ""
    uid = uids_of(session, [municipality_id]).get(municipality_id)
    if uid is None:
        raise NotFound(f"municipalities/{municipality_id}")
    return uid
