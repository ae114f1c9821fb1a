"""The gate around every handler: who calls, whether they may, about which municipality, with what; then the handler;
then its errors as gRPC status, its metrics and its log line. Every call runs in a task and a context of its own.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

import grpc
from google.protobuf.message import DecodeError, Message
from sqlalchemy.exc import IntegrityError

from domain.errors import Conflict, Exhausted, InvalidInput, LichtbuchError, TimedOut, Unavailable
from servicekit.access import Caller
from servicekit.access_source import AccessSource
from servicekit.auth import Authenticator
from servicekit.calls import set_deadline
from servicekit.context import enter_call, is_scope_aware, new_request_id, set_caller, set_tenants
from servicekit.grpc_errors import REQUEST_ID_HEADER, STATUS_HEADER, status_of
from servicekit.interceptors.rules import validate
from servicekit.interceptors.tenancy import Grant, Tenancy
from servicekit.logs import bind_contextvars, clear_contextvars, get_logger
from servicekit.metrics import GRPC_DURATION, GRPC_IN_FLIGHT, GRPC_REQUESTS, GRPC_STREAMS
from servicekit.policy import Method, methods_of
from servicekit.tenants import TenantDirectory

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:/=+-]{1,128}")
_NO_LIMIT_S: Final = 365 * 86400.0
_DRAIN_RETRY_S: Final = 1.0

RECHECK_S: Final = 30.0
"""How long (real seconds) a stream goes on before its reader's token and rights are looked at again."""

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

_log = get_logger("servicekit.calls")


class _Undecodable:
    """Stands for a request that is no message of its type."""


class Gate:
    """Wraps the handlers of a service's servicers."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        access: AccessSource,
        tenants: TenantDirectory,
        default_deadline_s: float,
        max_streams: int,
        recheck_s: float = RECHECK_S,
    ) -> None:
        self.recheck_s = recheck_s
        self._authenticator, self._access, self._tenants = authenticator, access, tenants
        self._default_deadline_s, self._max_streams = default_deadline_s, max_streams
        self._streams: set[_Call] = set()
        self._draining = False

    def drain(self) -> None:
        """Ends open server streams, so that their readers go elsewhere; other calls run to their end."""
        self._draining = True
        for stream in self._streams:
            stream.end()

    @property
    def open_streams(self) -> int:
        """How many server streams are open."""
        return len(self._streams)

    def wrap(self, service: str, handlers: Mapping[str, Handler]) -> dict[str, Handler]:
        """The handlers behind the gate. Raises InvalidInput for a method without policy or without a tenant.

        Methods that the servicer leaves to its generated base are left out: gRPC itself says that they are not there.
        """
        methods = methods_of(service)
        return {
            name: self._wrap(methods[name], handler)
            for name, handler in handlers.items()
            if not _is_inherited(_behaviour(handler), service)
        }

    def _wrap(self, method: Method, handler: Any) -> Handler:
        behaviour = _behaviour(handler)
        guard = _Guard(self, method, is_scope_aware(behaviour))
        maker: Callable[..., Handler]
        wrapped: Callable[..., Any]
        if handler.unary_unary:
            maker, wrapped = grpc.unary_unary_rpc_method_handler, guard.unary_unary(behaviour)
        elif handler.stream_unary:
            maker, wrapped = grpc.stream_unary_rpc_method_handler, guard.stream_unary(behaviour)
        elif handler.unary_stream:
            maker, wrapped = grpc.unary_stream_rpc_method_handler, guard.unary_stream(behaviour)
        else:
            maker, wrapped = grpc.stream_stream_rpc_method_handler, guard.stream_stream(behaviour)
        return maker(
            wrapped,
            request_deserializer=_tolerant(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )

    def enter_stream(self, stream: "_Call") -> None:
        """Counts a server stream in. Raises Exhausted when there are too many, Unavailable while draining."""
        self.check_open()
        if len(self._streams) >= self._max_streams:
            raise Exhausted(f"{self._max_streams} streams are open, which is the limit", 5.0)
        self._streams.add(stream)
        GRPC_STREAMS.set(len(self._streams))

    def leave_stream(self, stream: "_Call") -> None:
        """Counts a server stream out."""
        self._streams.discard(stream)
        GRPC_STREAMS.set(len(self._streams))

    def check_open(self) -> None:
        """Raises Unavailable while draining."""
        if self._draining:
            raise Unavailable("the service is stopping", _DRAIN_RETRY_S)


class _Guard:
    """What happens around the calls of one method."""

    def __init__(self, gate: Gate, method: Method, scope_aware: bool) -> None:
        self._gate, self._method = gate, method
        self._tenancy = Tenancy(method, gate._tenants, scope_aware=scope_aware)
        self._in_flight = GRPC_IN_FLIGHT.labels(method.service, method.name)
        self._duration = GRPC_DURATION.labels(method.service, method.name)

    def unary_unary(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        """Around a handler with one request and one answer."""

        async def call(request: Any, context: Any) -> Any:
            async with _Call(self, context, limited=True) as call:
                await self._admit(request, context)
                return await call.within_deadline(handler(request, context))

        return call

    def stream_unary(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        """Around a handler with many requests and one answer."""

        async def call(requests: Any, context: Any) -> Any:
            async with _Call(self, context, limited=False):
                return await handler(self._admitted(requests, context), context)

        return call

    def unary_stream(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        """Around a handler with one request and many answers."""

        async def call(request: Any, context: Any) -> AsyncIterator[Any]:
            async with _Call(self, context, limited=False, streams=True) as call:
                grant = await self._admit(request, context)
                checked_at = time.monotonic()
                async for answer in handler(request, context):
                    # A stream may stay open for weeks; who lost a right, or whose token ended, sees nothing more.
                    if time.monotonic() - checked_at >= self._gate.recheck_s:
                        await self._still_admitted(request, context, grant)
                        checked_at = time.monotonic()
                    call.sends()
                    yield answer
                    call.has_sent()

        return call

    def stream_stream(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        """Around a handler with many requests and many answers."""

        async def call(requests: Any, context: Any) -> AsyncIterator[Any]:
            async with _Call(self, context, limited=False, streams=True) as call:
                async for answer in handler(self._admitted(requests, context), context):
                    call.sends()
                    yield answer
                    call.has_sent()

        return call

    async def _admit(self, request: Any, context: Any) -> Grant:
        caller = await self._caller(context)
        return await self._settle(request, caller)

    async def _still_admitted(self, request: Any, context: Any, grant: Grant) -> None:
        """Raises what a new call would raise; Unavailable where less may be seen than at the beginning: ask anew."""
        now = await self._admit(request, context)
        if not now.covers(grant):
            raise Unavailable("what you may see has changed: ask again", 0.1)

    async def _admitted(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        """The requests of a stream, each checked before the handler sees it; the first says what they are about."""
        caller = await self._caller(context)
        grant: Grant | None = None
        async for request in requests:
            if grant is None:
                grant = await self._settle(request, caller)
            else:
                _check(request)
                self._tenancy.continues(request, grant)
            yield request

    async def _caller(self, context: Any) -> Caller | None:
        if self._method.is_public:
            return None
        identity = await self._gate._authenticator.identify(context.invocation_metadata() or (), context.auth_context())
        bind_contextvars(subject=identity.subject)
        caller = await self._gate._access.caller(identity, for_change=not self._method.is_read)
        set_caller(caller)
        return caller

    async def _settle(self, request: Any, caller: Caller | None) -> Grant:
        _check(request)
        grant = await self._tenancy.settle(request, caller)
        set_tenants(grant.tenants, grant.scopes)
        return grant


class _Call:
    """One call from its beginning to its end: ids, deadline, errors, metrics, log."""

    def __init__(self, guard: _Guard, context: Any, *, limited: bool, streams: bool = False) -> None:
        self._guard, self._context, self._streams = guard, context, streams
        self._request_id = _request_id(context.invocation_metadata() or ())
        left_s = context.time_remaining()
        self._left_s: float | None = left_s if left_s is not None and left_s < _NO_LIMIT_S else None
        if self._left_s is None and limited:
            self._left_s = guard._gate._default_deadline_s
        self._task: asyncio.Task[Any] | None = None
        self._is_sending = False
        self._began = 0.0

    async def __aenter__(self) -> "_Call":
        method = self._guard._method
        self._began = time.perf_counter()
        enter_call(self._request_id, method.full_name)
        set_deadline(self._left_s)
        clear_contextvars()
        bind_contextvars(request_id=self._request_id, method=method.full_name)
        self._context.set_trailing_metadata(((REQUEST_ID_HEADER, self._request_id),))
        self._guard._in_flight.inc()
        try:
            if self._left_s is not None and self._left_s <= 0:
                raise TimedOut("the deadline had passed when the call arrived")
            if self._streams:
                self._guard._gate.enter_stream(self)
                self._task = asyncio.current_task()
        except LichtbuchError as error:
            await self._fail(error)
        return self

    async def within_deadline(self, work: Any) -> Any:
        """Awaits the handler, at most for the time that is left."""
        try:
            async with asyncio.timeout(self._left_s):
                return await work
        except TimeoutError as error:
            raise TimedOut("the call took longer than its deadline allows") from error

    def sends(self) -> None:
        """An answer is handed over to gRPC."""
        self._is_sending = True

    def has_sent(self) -> None:
        """The answer is sent, the next is asked for. Raises Unavailable if the service has begun to stop meanwhile."""
        self._is_sending = False
        self._guard._gate.check_open()

    def end(self) -> None:
        """Ends a stream, as soon as gRPC has sent what it was given: cancelled in there, it would end without a word
        of why."""
        if self._task is not None and not self._is_sending:
            self._task.cancel()

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if self._streams:
            self._guard._gate.leave_stream(self)
        if error is None:
            self._finish(self._code(grpc.StatusCode.OK))
        elif isinstance(error, asyncio.CancelledError):
            await self._cancelled()
        elif isinstance(error, GeneratorExit | grpc.aio.AbortError | grpc.aio.BaseError):
            self._finish(self._code(grpc.StatusCode.CANCELLED))
        else:
            await self._fail(_our_error(error, self._request_id))

    async def _cancelled(self) -> None:
        gate, task = self._guard._gate, asyncio.current_task()
        if self._streams and gate._draining and task is not None:
            task.uncancel()
            await self._fail(Unavailable("the service is stopping", _DRAIN_RETRY_S))
        late = self._context.time_remaining()
        self._finish(grpc.StatusCode.DEADLINE_EXCEEDED if late is not None and late <= 0 else grpc.StatusCode.CANCELLED)

    async def _fail(self, error: LichtbuchError) -> None:
        status = status_of(error, self._request_id)
        code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
        self._finish(code, error)
        metadata = ((REQUEST_ID_HEADER, self._request_id), (STATUS_HEADER, status.SerializeToString()))
        await self._context.abort(code, status.message, metadata)

    def _code(self, otherwise: grpc.StatusCode) -> grpc.StatusCode:
        """The code that the handler itself has set."""
        number = self._context.code()
        if not number:
            return otherwise
        found = next((code for code in grpc.StatusCode if number in (code, code.value[0])), None)
        return found if found and found is not grpc.StatusCode.OK else otherwise

    def _finish(self, code: grpc.StatusCode, error: LichtbuchError | None = None) -> None:
        method = self._guard._method
        took_s = time.perf_counter() - self._began
        self._guard._in_flight.dec()
        self._guard._duration.observe(took_s)
        GRPC_REQUESTS.labels(method.service, method.name, code.name).inc()
        facts: dict[str, Any] = {"code": code.name, "duration_ms": round(took_s * 1000, 2)}
        if error is not None:
            facts["reason"] = error.message
        if code is grpc.StatusCode.OK and method.is_read:
            _log.debug("call", **facts)
        else:
            _log.info("call", **facts)


def _behaviour(handler: Any) -> Callable[..., Any]:
    behaviour: Callable[..., Any] = (
        handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    )
    return behaviour


def _is_inherited(behaviour: Callable[..., Any], service: str) -> bool:
    return getattr(behaviour, "__qualname__", "").startswith(f"{service.rpartition('.')[2]}Servicer.")


def _check(request: Any) -> None:
    if not isinstance(request, Message):
        raise InvalidInput.of("", "the bytes are no message of this type")
    validate(request)


def _our_error(error: BaseException, request_id: str) -> LichtbuchError:
    if isinstance(error, LichtbuchError):
        return error
    if isinstance(error, IntegrityError):
        _log.warning("a constraint of the database was hit that the store does not name", exc_info=error)
        return Conflict("the change collides with something that is stored already")
    _log.error("unexpected error", exc_info=error)
    return LichtbuchError(f"internal error; the log has more under request id {request_id}")


def _request_id(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    for key, value in metadata:
        if key == REQUEST_ID_HEADER and isinstance(value, str) and _REQUEST_ID.fullmatch(value):
            return value
    return new_request_id()


def _tolerant(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
    """Lets undecodable bytes through to the gate, which refuses them as bad input, not as an error of ours."""

    def read(data: bytes) -> Any:
        try:
            return deserialize(data) if deserialize is not None else data
        except DecodeError:
            return _Undecodable()

    return read
