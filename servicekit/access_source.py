"""Where the bindings of people come from: asked of the registry and kept for a while; given directly in the registry.

A read may run on an answer up to ten minutes old while the registry is away; a change never runs on one past its
lifetime of 30 s: who lost a right may look a little longer, but not act.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

from domain.errors import InvalidInput, RetryableError, Unavailable
from domain.names import WILDCARD, ResourceName
from lichtbuch.registry.v1 import registry_pb2, registry_pb2_grpc
from servicekit.access import Binding, Caller, Role
from servicekit.auth import Identity
from servicekit.clock import system_time
from servicekit.convert import optional_timestamp_from_proto
from servicekit.metrics import ACCESS_STALE

if TYPE_CHECKING:
    from lichtbuch.registry.v1.registry_pb2_grpc import RegistryServiceAsyncStub

FRESH: Final = timedelta(seconds=30)
STALE: Final = timedelta(minutes=10)
_MAX_SUBJECTS: Final = 10_000

_ROLES: Final[Mapping[int, Role]] = {
    registry_pb2.ROLE_VIEWER: Role.VIEWER,
    registry_pb2.ROLE_OPERATOR: Role.OPERATOR,
    registry_pb2.ROLE_PLANNER: Role.PLANNER,
    registry_pb2.ROLE_AUDITOR: Role.AUDITOR,
    registry_pb2.ROLE_ADMIN: Role.ADMIN,
    registry_pb2.ROLE_CONTRACTOR: Role.CONTRACTOR,
    registry_pb2.ROLE_FITTER: Role.FITTER,
}


class AccessSource(Protocol):
    """Turns a proven identity into a caller with its bindings."""

    async def caller(self, identity: Identity, *, for_change: bool) -> Caller:
        """The caller. Raises Unavailable where nobody can tell what it may do."""
        ...


def role_from_proto(role: int) -> Role:
    """A role. Raises InvalidInput for one that is not known."""
    try:
        return _ROLES[role]
    except KeyError:
        raise InvalidInput.of("role", f"{role} is not a role") from None


def role_to_proto(role: Role) -> "registry_pb2.Role.ValueType":
    """A role."""
    return next(value for value, known in _ROLES.items() if known is role)  # type: ignore[return-value]


def binding_from_proto(binding: registry_pb2.RoleBinding) -> Binding:
    """A binding as access checks need it. Raises InvalidInput."""
    name = ResourceName.parse(binding.name, field="role_binding.name", allow_wildcard=True)
    return Binding(
        role_from_proto(binding.role),
        WILDCARD if name.is_wildcard else name.municipality,
        tuple(binding.scopes),
        optional_timestamp_from_proto(binding, "expires_at"),
    )


def caller_of(identity: Identity, bindings: Iterable[Binding], real: datetime) -> Caller:
    """A caller with the bindings that have not ended."""
    if identity.service:
        return Caller(identity.subject, "service", (), identity.service)
    holding = tuple(b for b in bindings if b.expires_at is None or b.expires_at > real)
    return Caller(identity.subject, "person", holding)


class LocalAccess:
    """Bindings from a function: the registry's own table, or a list in tests."""

    def __init__(
        self,
        bindings: Callable[[str], Awaitable[Iterable[Binding]]],
        real: Callable[[], datetime] = system_time,
    ) -> None:
        self._bindings, self._real = bindings, real

    async def caller(self, identity: Identity, *, for_change: bool) -> Caller:
        """The caller."""
        bindings = () if identity.service else await self._bindings(identity.subject)
        return caller_of(identity, bindings, self._real())


@dataclass(frozen=True, slots=True)
class _Answer:
    bindings: tuple[Binding, ...]
    asked_at: datetime


class RegistryAccess:
    """Bindings from the registry, kept for 30 s; for reads up to ten minutes while it is away."""

    def __init__(self, channel: Any, real: Callable[[], datetime] = system_time) -> None:
        self._registry: RegistryServiceAsyncStub = registry_pb2_grpc.RegistryServiceStub(channel)
        self._real = real
        self._answers: OrderedDict[str, _Answer] = OrderedDict()

    async def caller(self, identity: Identity, *, for_change: bool) -> Caller:
        """The caller. A service's rights need no registry."""
        now = self._real()
        if identity.service:
            return caller_of(identity, (), now)
        known = self._answers.get(identity.subject)
        if known is not None and now - known.asked_at < FRESH:
            return caller_of(identity, known.bindings, now)
        try:
            answer = await self._registry.GetAccess(
                registry_pb2.GetAccessRequest(subject=identity.subject), timeout=5.0
            )
        except RetryableError as error:
            if known is not None and not for_change and now - known.asked_at < STALE:
                ACCESS_STALE.inc()
                return caller_of(identity, known.bindings, now)
            raise Unavailable("the registry cannot be asked what you may do", 2.0) from error
        # A role that only a newer registry knows grants nothing here.
        bindings = tuple(binding_from_proto(binding) for binding in answer.bindings if binding.role in _ROLES)
        self._keep(identity.subject, _Answer(bindings, now))
        return caller_of(identity, bindings, now)

    def _keep(self, subject: str, answer: _Answer) -> None:
        self._answers[subject] = answer
        self._answers.move_to_end(subject)
        while len(self._answers) > _MAX_SUBJECTS:
            self._answers.popitem(last=False)
