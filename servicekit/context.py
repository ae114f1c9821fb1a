"""Who is calling, for which municipalities, under which request id: what surrounds a call, as context variables.

The interceptors set them before a handler runs; a loop runs as its own service. Not here: how any of it is checked.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, TypeVar

from domain.errors import FailedPrecondition, NotAuthenticated
from domain.names import new_uid
from servicekit.access import UNLIMITED, Binding, Caller, Scope

__all__ = [
    "Binding",
    "Caller",
    "Scope",
    "Tenant",
    "acting_as",
    "current_action",
    "current_caller",
    "current_request_id",
    "current_scope",
    "current_tenant",
    "current_tenants",
    "is_scope_aware",
    "new_request_id",
    "scope_aware",
]


@dataclass(frozen=True, slots=True)
class Tenant:
    """A municipality as the services know it. `id` is the alias of today, `uid` never changes. WGS84 degrees."""

    uid: str
    id: str
    display_name: str = ""
    time_zone: str = "Europe/Berlin"
    latitude_deg: float = 0.0
    longitude_deg: float = 0.0

    @property
    def name(self) -> str:
        """Its resource name."""
        return f"municipalities/{self.id}"


_caller: ContextVar[Caller | None] = ContextVar("caller", default=None)
_tenants: ContextVar[tuple[Tenant, ...]] = ContextVar("tenants", default=())
_scopes: ContextVar[dict[str, Scope] | None] = ContextVar("scopes", default=None)
_request_id: ContextVar[str] = ContextVar("request_id", default="")
_action: ContextVar[str] = ContextVar("action", default="")


def current_caller() -> Caller:
    """Who calls. Raises NotAuthenticated outside of a call and of a loop."""
    caller = _caller.get()
    if caller is None:
        raise NotAuthenticated("nobody is calling")
    return caller


def current_tenants() -> list[Tenant]:
    """The municipalities that the request is about: one, or all that the caller may see for "municipalities/-"."""
    return list(_tenants.get())


def current_tenant() -> Tenant:
    """The one municipality that the request is about. Raises FailedPrecondition if it is not exactly one."""
    tenants = _tenants.get()
    if len(tenants) != 1:
        raise FailedPrecondition(f"the request is about {len(tenants)} municipalities, one is needed")
    return tenants[0]


def current_scope(tenant: Tenant | None = None) -> Scope:
    """The resources that the caller is limited to in a municipality (the current one where none is given).

    Only a handler marked `scope_aware` ever sees a limited scope: for all others the interceptor has checked that what
    the request names lies in it.
    """
    scopes = _scopes.get()
    if scopes is None:
        return UNLIMITED
    return scopes.get((tenant or current_tenant()).uid, UNLIMITED)


def current_request_id() -> str:
    """Id of the request, for finding the log lines. Outside of a request a new one, kept for the rest of the task."""
    request_id = _request_id.get()
    if not request_id:
        request_id = new_request_id()
        _request_id.set(request_id)
    return request_id


def current_action() -> str:
    """What is being done: the full name of the method, or the name of the loop."""
    return _action.get()


def new_request_id() -> str:
    """A fresh request id."""
    return new_uid()


def enter_call(request_id: str, action: str) -> None:
    """Begins a call in this task: for the interceptors."""
    _request_id.set(request_id)
    _action.set(action)
    _caller.set(None)
    _tenants.set(())
    _scopes.set(None)


def set_caller(caller: Caller) -> None:
    """Says who calls: for the interceptors."""
    _caller.set(caller)


def set_tenants(tenants: Sequence[Tenant], scopes: dict[str, Scope] | None = None) -> None:
    """Says what the call is about, with the caller's scope per tenant uid: for the interceptors."""
    _tenants.set(tuple(tenants))
    _scopes.set(scopes)


@contextmanager
def acting_as(
    caller: Caller, *, action: str = "", tenants: Sequence[Tenant] = (), request_id: str = ""
) -> Iterator[None]:
    """Runs a block as a caller: for loops, jobs, seeding and tests."""
    tokens = (
        (_caller, _caller.set(caller)),
        (_tenants, _tenants.set(tuple(tenants))),
        (_scopes, _scopes.set(None)),
        (_request_id, _request_id.set(request_id or new_request_id())),
        (_action, _action.set(action)),
    )
    try:
        yield
    finally:
        for variable, token in tokens:
            variable.reset(token)  # type: ignore[arg-type]  # each token belongs to its own variable


_SCOPE_AWARE: Final = "__lichtbuch_scope_aware__"
Handler = TypeVar("Handler", bound=Callable[..., object])


def scope_aware(handler: Handler) -> Handler:
    """Marks a handler that itself keeps a contractor or fitter to `current_scope()`: lists, and what refers to others.

    Without the mark, a caller with a limited scope is refused unless the resource that the request names is in scope.
    """
    setattr(handler, _SCOPE_AWARE, True)
    return handler


def is_scope_aware(handler: object) -> bool:
    """True if a handler bears the mark."""
    return bool(getattr(handler, _SCOPE_AWARE, False))
