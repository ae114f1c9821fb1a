"""Which municipalities a request is about, whether the caller may, and that every reference in it stays within them."""

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import Message

from domain.errors import InvalidInput, NotFound, Violation
from domain.names import MUNICIPALITIES, WILDCARD
from servicekit.access import Caller, Scope, not_permitted
from servicekit.context import Tenant
from servicekit.interceptors.names import Reference, Source, references_in, sources_of
from servicekit.policy import Method
from servicekit.tenants import TenantDirectory

_MAX_NAMED = 20


@dataclass(frozen=True, slots=True)
class Grant:
    """What a request is about, and what the caller is limited to in each municipality, by uid."""

    tenants: tuple[Tenant, ...] = ()
    scopes: dict[str, Scope] | None = None

    def covers(self, other: "Grant") -> bool:
        """True if this allows all that the other one does."""
        mine = {tenant.uid for tenant in self.tenants}
        if not mine.issuperset(tenant.uid for tenant in other.tenants):
            return False
        scopes = self.scopes or {}
        return all(scopes[uid].includes(scope) for uid, scope in (other.scopes or {}).items())


class Tenancy:
    """Settles tenant and permission of one method's requests."""

    def __init__(self, method: Method, tenants: TenantDirectory, *, scope_aware: bool) -> None:
        self._method, self._tenants, self._scope_aware = method, tenants, scope_aware
        self._sources = () if method.tenantless else sources_of(method.request)
        if not self._sources and not method.tenantless and not method.is_public:
            raise InvalidInput.of(method.full_name, "the request does not say which municipality it is about")

    async def settle(self, request: Message, caller: Caller | None) -> Grant:
        """The grant for a request; `caller` None is for public methods.

        Raises InvalidInput naming each reference that leaves the municipality, NotPermitted, NotFound.
        """
        references = references_in(request)
        if caller is None or self._method.tenantless:
            if caller is not None and not caller.may_somewhere(self._method.permission):
                raise not_permitted(self._method.permission, "-")
            return Grant()
        source, name = self._about(request)
        municipality = next(r.municipality for r in references if r.path == source.path)
        grant = await self._grant(municipality, caller)
        self._check_references(references, grant.tenants, municipality)
        self._check_scope(name, references, grant)
        return grant

    def continues(self, request: Message, grant: Grant) -> bool:
        """For a further message of a stream: true if it is about nothing else. Raises InvalidInput if it is."""
        references = references_in(request)
        self._check_references(references, grant.tenants, "")
        return True

    def _about(self, request: Message) -> tuple[Source, str]:
        for source in self._sources:
            name = source.value(request)
            if name:
                return source, name
        raise InvalidInput.of(self._sources[0].path, "is required: it says what the request is about")

    async def _grant(self, municipality: str, caller: Caller) -> Grant:
        permission = self._method.permission
        if municipality == WILDCARD:
            seen = [
                (tenant, scope)
                for tenant in await self._tenants.all()
                if (scope := caller.scope(permission, tenant.id)) is not None and self._usable(scope)
            ]
            if not seen and not caller.may_somewhere(permission):
                raise not_permitted(permission, municipality)
            return Grant(tuple(tenant for tenant, _ in seen), {tenant.uid: scope for tenant, scope in seen})
        scope = caller.scope(permission, municipality)
        if scope is None:
            raise not_permitted(permission, municipality)
        try:
            tenant = await self._tenants.get(municipality)
        except NotFound:
            raise NotFound(f"{MUNICIPALITIES}/{municipality}") from None
        return Grant((tenant,), {tenant.uid: scope})

    def _usable(self, scope: Scope) -> bool:
        return self._scope_aware or not scope.is_limited

    def _check_references(self, references: Sequence[Reference], tenants: Sequence[Tenant], about: str) -> None:
        allowed = {tenant.id for tenant in tenants}
        wrong = [r for r in references if r.municipality not in allowed and r.municipality != about]
        if not wrong:
            return
        here = ", ".join(sorted(allowed)[:3]) if allowed else "none"
        raise InvalidInput(
            violations=[
                Violation(r.path, f"{r.name!r} is not of the municipality that the request is about ({here})")
                for r in wrong[:_MAX_NAMED]
            ]
        )

    def _check_scope(self, name: str, references: Sequence[Reference], grant: Grant) -> None:
        if self._scope_aware or grant.scopes is None:
            return
        for tenant in grant.tenants:
            scope = grant.scopes[tenant.uid]
            if scope.is_limited:
                scope.require(name, *(r.name for r in references if r.municipality == tenant.id))
