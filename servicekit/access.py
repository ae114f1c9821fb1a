"""Who may do what: roles, their permissions, bindings of people, and the callers that carry them. Pure tables and sets.

Not here: how a caller proves who it is (auth.py), where bindings come from (access_source.py), and the check of every
call (interceptors). A permission is written "service.resource.verb" and stands on every method in the contract; a
pattern may hold "*" for a whole part.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final, Self

from domain.errors import NotPermitted
from domain.names import WILDCARD

PUBLIC: Final = "public"
"""The permission of methods that need no identity."""


class Role(StrEnum):
    """What a person is to a municipality."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    PLANNER = "planner"
    AUDITOR = "auditor"
    ADMIN = "admin"
    CONTRACTOR = "contractor"
    FITTER = "fitter"


_SEES: Final = (
    "lighting.*.read",
    "metering.*.read",
    "scheduler.*.read",
    "ledger.measures.read",
    "ledger.entries.read",
    "registry.municipalities.read",
    "registry.unions.read",
    "registry.endpoints.read",
)

ROLE_PERMISSIONS: Final[Mapping[Role, tuple[str, ...]]] = {
    Role.VIEWER: _SEES,
    Role.OPERATOR: (
        *_SEES,
        "lighting.overrides.*",
        "lighting.lockouts.*",
        "lighting.faults.*",
        "lighting.luminaires.identify",
        "lighting.luminaires.swap",
        "lighting.sensors.report",
        "lighting.versions.list",
        "metering.readings.create",
        "metering.meters.install",
        "metering.meters.exchange",
        "metering.meters.dismount",
        "metering.deliveries.create",
        "metering.findings.*",
        "scheduler.plans.synchronise",
    ),
    Role.PLANNER: (
        *_SEES,
        "lighting.cabinets.*",
        "lighting.feeders.*",
        "lighting.gateways.*",
        "lighting.luminaireModels.*",
        "lighting.luminaires.*",
        "lighting.groups.*",
        "lighting.waivers.*",
        "lighting.sensors.*",
        "lighting.versions.list",
        "metering.meters.*",
        "metering.readings.*",
        "metering.deliveries.*",
        "metering.weather.*",
        "metering.findings.*",
        "scheduler.*.*",
        "ledger.measures.create",
        "ledger.entries.create",
        "registry.endpoints.*",
    ),
    Role.AUDITOR: (
        *_SEES,
        "lighting.versions.list",
        "ledger.log.read",
        "ledger.entries.recompute",
        "registry.roles.read",
        "audit.records.read",
    ),
    Role.ADMIN: ("lighting.*.*", "metering.*.*", "scheduler.*.*", "ledger.*.*", "registry.*.*", "audit.*.*"),
    Role.CONTRACTOR: (
        "ledger.measures.read",
        "ledger.entries.read",
        "metering.meters.read",
        "metering.readings.read",
        "registry.municipalities.read",
    ),
    Role.FITTER: (
        "lighting.cabinets.read",
        "lighting.feeders.read",
        "lighting.gateways.read",
        "lighting.luminaires.read",
        "lighting.luminaireModels.read",
        "lighting.groups.read",
        "lighting.overrides.*",
        "lighting.lockouts.*",
        "lighting.faults.*",
        "lighting.luminaires.identify",
        "lighting.luminaires.protect",
        "lighting.luminaires.swap",
        "registry.municipalities.read",
    ),
}
"""What each role may do within the municipalities (and scopes) it is bound for."""

SERVICES_ONLY: Final = ("registry.access.read", "lighting.plans.put")
"""Permissions that no person holds, whatever the role."""

SCOPED_ROLES: Final = frozenset({Role.CONTRACTOR, Role.FITTER})
"""Roles that hold for the named resources of a binding only; without a scope they hold for nothing."""

UNSCOPED_PERMISSIONS: Final = frozenset({"registry.municipalities.read", "lighting.luminaireModels.read"})
"""Permissions that a scoped role holds for the whole municipality: they tell nothing about anybody's share in it."""

SERVICE_PERMISSIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "registry": (),
    "lighting": ("registry.municipalities.read", "registry.endpoints.read", "registry.access.read"),
    "scheduler": (
        "registry.municipalities.read",
        "registry.access.read",
        "lighting.groups.read",
        "lighting.plans.read",
        "lighting.plans.put",
        "lighting.sensors.read",
    ),
    "metering": (
        "registry.municipalities.read",
        "registry.endpoints.read",
        "registry.access.read",
        "lighting.cabinets.read",
    ),
    "ledger": (
        "registry.municipalities.read",
        "registry.access.read",
        "lighting.cabinets.read",
        "lighting.feeders.read",
        "lighting.luminaires.read",
        "lighting.luminaireModels.read",
        "lighting.energy.read",
        "metering.meters.read",
        "metering.readings.read",
    ),
    "admin": ("registry.municipalities.read",),
}
"""What each service may do at the others, in every municipality. What people do through it runs on their own token."""


@lru_cache(maxsize=4096)
def matches(pattern: str, permission: str) -> bool:
    """True if a pattern covers a permission, part by part."""
    wanted, given = pattern.split("."), permission.split(".")
    return len(wanted) == len(given) and all(w in ("*", g) for w, g in zip(wanted, given, strict=True))


@lru_cache(maxsize=4096)
def role_may(role: Role, permission: str) -> bool:
    """True if the role holds the permission."""
    if permission in SERVICES_ONLY:
        return False
    return any(matches(pattern, permission) for pattern in ROLE_PERMISSIONS[role])


def is_read(permission: str) -> bool:
    """True if the permission changes nothing: such calls may run on an access answer that is a few minutes old."""
    return permission.endswith(".read")


@dataclass(frozen=True, slots=True)
class Scope:
    """Resources that a caller is limited to. `names` None means no limit."""

    names: frozenset[str] | None = None

    @property
    def is_limited(self) -> bool:
        """True if only some resources may be seen."""
        return self.names is not None

    def covers(self, resource: str) -> bool:
        """True if the resource, by name, is in scope itself or lies in something that is."""
        if self.names is None:
            return True
        parts = resource.split("/")
        return any("/".join(parts[:length]) in self.names for length in range(len(parts), 0, -2))

    def includes(self, other: "Scope") -> bool:
        """True if all that lies in the other one lies in this."""
        if self.names is None:
            return True
        return other.names is not None and all(self.covers(name) for name in other.names)

    def require(self, *resources: str) -> None:
        """Raises NotPermitted that names the first resource out of scope."""
        for resource in resources:
            if not self.covers(resource):
                raise NotPermitted(f"{resource or 'this'} is outside of what the caller is bound to")


UNLIMITED: Final = Scope()
NOTHING: Final = Scope(frozenset())


@dataclass(frozen=True, slots=True)
class Binding:
    """A role in a municipality (by id, "-" for every one), for scoped roles limited to the named resources."""

    role: Role
    municipality: str
    scopes: tuple[str, ...] = ()
    expires_at: datetime | None = None

    def holds_in(self, municipality: str) -> bool:
        """True if the binding is for this municipality."""
        return self.municipality in (WILDCARD, municipality)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. kind is "person" or "service"; a service's name stands in `service`, its rights in a table above."""

    subject: str
    kind: str
    bindings: tuple[Binding, ...] = ()
    service: str = ""

    @classmethod
    def of_service(cls, name: str) -> Self:
        """The identity of a service."""
        return cls(f"service:{name}", "service", (), name)

    @property
    def is_service(self) -> bool:
        """True for a service, false for a person."""
        return self.kind == "service"

    def scope(self, permission: str, municipality: str) -> Scope | None:
        """What the caller may reach with a permission in a municipality; None if it does not hold it there.

        `municipality` is an id; "-" asks for a right that holds in every municipality.
        """
        if permission == PUBLIC:
            return UNLIMITED
        if self.is_service:
            patterns = SERVICE_PERMISSIONS.get(self.service, ())
            return UNLIMITED if any(matches(pattern, permission) for pattern in patterns) else None
        names: set[str] = set()
        held = False
        for binding in self.bindings:
            if not binding.holds_in(municipality) or not role_may(binding.role, permission):
                continue
            if binding.role not in SCOPED_ROLES or permission in UNSCOPED_PERMISSIONS:
                return UNLIMITED
            held = True
            names.update(binding.scopes)
        return Scope(frozenset(names)) if held else None

    def may(self, permission: str, municipality: str, resource: str | None = None) -> bool:
        """True if the caller holds the permission in the municipality (an id), and for the resource if one is named."""
        scope = self.scope(permission, municipality)
        if scope is None:
            return False
        return not scope.is_limited or (resource is not None and scope.covers(resource))

    def may_somewhere(self, permission: str) -> bool:
        """True if there is any municipality in which the caller holds the permission, scoped or not."""
        if permission == PUBLIC or self.is_service:
            return self.scope(permission, WILDCARD) is not None
        return any(role_may(binding.role, permission) for binding in self.bindings)

    def require(self, permission: str, municipality: str, resource: str | None = None) -> None:
        """Raises NotPermitted unless `may`."""
        if not self.may(permission, municipality, resource):
            raise not_permitted(permission, municipality)


def not_permitted(permission: str, municipality: str) -> NotPermitted:
    """The one sentence for a missing right. It does not tell whether the municipality exists."""
    where = "every municipality" if municipality == WILDCARD else f"municipalities/{municipality}"
    return NotPermitted(f"{permission} in {where} is needed")
