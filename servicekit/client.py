"""Calling other services: one channel per target, with deadlines, tokens, request ids, retries and our own errors.

`connect` gives a channel for the generated stubs. Awaiting a stub's call gives the answer or raises from the tree in
domain/errors.py, violations included. Only methods that the contract calls idempotent are tried again. Some of them are
so by the request's field `request_id`: where the caller gave none, each call gets one of its own for all its tries.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, Final, Protocol

import grpc

from domain.errors import NotAuthenticated, RetryableError, TimedOut, Unavailable
from domain.names import new_uid
from servicekit.calls import remaining_s
from servicekit.context import current_request_id
from servicekit.grpc_errors import REQUEST_ID_HEADER, error_of
from servicekit.metrics import GRPC_CLIENT_REQUESTS, GRPC_CLIENT_RETRIES
from servicekit.policy import find_method
from servicekit.tokens import NoToken, TokenSource

DEFAULT_DEADLINE_S: Final = 10.0
ATTEMPTS: Final = 4
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0
MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024

Metadata = tuple[tuple[str, str], ...]


class ChannelSettings(Protocol):
    """The part of the settings that a channel needs."""

    @property
    def tls_ca(self) -> Path | None:
        """Authorities of servers; None for no TLS."""
        ...

    @property
    def tls_certificate(self) -> Path | None:
        """Our own certificate, for mutual TLS."""
        ...

    @property
    def tls_key(self) -> Path | None:
        """Its key."""
        ...


def connect(
    target: str,
    settings: ChannelSettings | None = None,
    identity: TokenSource | None = None,
    *,
    deadline_s: float = DEFAULT_DEADLINE_S,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
    server_name: str = "",
) -> "ServiceChannel":
    """A channel to "host:port". Inside a running event loop; connects when it is first used.

    identity: whose token is shown; None for none. deadline_s: of unary calls that bring no timeout of their own.
    server_name: name that the server's certificate must bear where it is not the target's host.
    """
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 3_000),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if server_name:
        options.append(("grpc.ssl_target_name_override", server_name))
    credentials = channel_credentials(settings)
    if credentials is None:
        channel = grpc.aio.insecure_channel(target, options=options)
    else:
        channel = grpc.aio.secure_channel(target, credentials, options=options)
    return ServiceChannel(channel, identity or NoToken(), deadline_s)


def channel_credentials(settings: ChannelSettings | None) -> grpc.ChannelCredentials | None:
    """TLS credentials from the settings, with our certificate where there is one; None for no TLS."""
    if settings is None or settings.tls_ca is None:
        return None
    key = settings.tls_key.read_bytes() if settings.tls_key else None
    chain = settings.tls_certificate.read_bytes() if settings.tls_certificate else None
    return grpc.ssl_channel_credentials(settings.tls_ca.read_bytes(), key, chain)


class ServiceChannel(grpc.aio.Channel):
    """A gRPC channel whose calls follow the rules of the house."""

    def __init__(self, channel: grpc.aio.Channel, identity: TokenSource, deadline_s: float) -> None:
        self._channel = channel
        self.identity = identity
        self.deadline_s = deadline_s

    async def __aenter__(self) -> "ServiceChannel":
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Ends open calls and the connection."""
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """State of the connection."""
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Waits until the state is another one."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Waits until the connection stands."""
        await self._channel.channel_ready()

    def unary_unary(self, method: str, *arguments: Any, **options: Any) -> Any:
        """A method with one request and one answer."""
        return _Unary(self, method, self._channel.unary_unary(method, *arguments, **options))

    def stream_unary(self, method: str, *arguments: Any, **options: Any) -> Any:
        """A method with many requests and one answer."""
        return _Unary(self, method, self._channel.stream_unary(method, *arguments, **options), retries=False)

    def unary_stream(self, method: str, *arguments: Any, **options: Any) -> Any:
        """A method with one request and many answers."""
        return _Streaming(self, method, self._channel.unary_stream(method, *arguments, **options))

    def stream_stream(self, method: str, *arguments: Any, **options: Any) -> Any:
        """A method with many requests and many answers."""
        return _Streaming(self, method, self._channel.stream_stream(method, *arguments, **options))

    async def metadata(self, given: Iterable[tuple[str, str]] | None) -> tuple[Metadata, str]:
        """What goes along with a call, and the token in it."""
        token = await self.identity.token()
        pairs = [(REQUEST_ID_HEADER, current_request_id()), *(given or ())]
        if token:
            pairs.append(("authorization", f"Bearer {token}"))
        return tuple(pairs), token


class _Unary:
    """Calls with one answer."""

    def __init__(self, channel: ServiceChannel, path: str, call: Callable[..., Any], *, retries: bool = True) -> None:
        self._channel, self._call = channel, call
        self._service, _, self._name = path.removeprefix("/").rpartition("/")
        method = find_method(path)
        self._may_retry = retries and method is not None and method.idempotent
        self._repeatable = retries
        self._wants_id = self._may_retry and method is not None and "request_id" in method.request.fields_by_name

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: Iterable[tuple[str, str]] | None = None,
        **options: Any,
    ) -> Coroutine[Any, Any, Any]:
        return self._invoke(request, timeout, metadata, options)

    async def _invoke(
        self, request: Any, timeout: float | None, metadata: Iterable[tuple[str, str]] | None, options: dict[str, Any]
    ) -> Any:
        loop = asyncio.get_running_loop()
        if self._wants_id and not request.request_id:
            request = _with_id(request)
        ends_at = loop.time() + _shortest(timeout if timeout is not None else self._channel.deadline_s)
        attempt, renewed = 1, False
        while True:
            pairs, token = await self._channel.metadata(metadata)
            left_s = ends_at - loop.time()
            if left_s <= 0:
                raise TimedOut(f"no time was left to call {self._name}")
            try:
                answer = await self._call(request, timeout=left_s, metadata=pairs, **options)
            except grpc.aio.AioRpcError as rpc_error:
                self._count(rpc_error.code())
                error = error_of(rpc_error)
                if isinstance(error, NotAuthenticated) and self._repeatable and not renewed:
                    renewed = True
                    if self._channel.identity.refused(token):
                        continue
                pause_s = self._pause_s(error, attempt)
                if pause_s is None or loop.time() + pause_s >= ends_at:
                    raise error from rpc_error
                GRPC_CLIENT_RETRIES.labels(self._service, self._name).inc()
                await asyncio.sleep(pause_s)
                attempt += 1
                continue
            self._count(grpc.StatusCode.OK)
            return answer

    def _pause_s(self, error: Exception, attempt: int) -> float | None:
        """How long to wait before trying again; None for not at all."""
        if not self._may_retry or attempt >= ATTEMPTS or not isinstance(error, RetryableError):
            return None
        if not isinstance(error, Unavailable) and error.retry_after_s is None:
            return None
        return back_off_s(attempt, error.retry_after_s)

    def _count(self, code: grpc.StatusCode) -> None:
        GRPC_CLIENT_REQUESTS.labels(self._service, self._name, code.name).inc()


class _Streaming:
    """Calls with many answers. A stream is not resumed here: whoever reads it knows from where."""

    def __init__(self, channel: ServiceChannel, path: str, call: Callable[..., Any]) -> None:
        self._channel, self._call = channel, call
        self._service, _, self._name = path.removeprefix("/").rpartition("/")

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: Iterable[tuple[str, str]] | None = None,
        **options: Any,
    ) -> "AnswerStream":
        return AnswerStream(self._open(request, timeout, metadata, options), self._count)

    async def _open(
        self, request: Any, timeout: float | None, metadata: Iterable[tuple[str, str]] | None, options: dict[str, Any]
    ) -> Any:
        pairs, _ = await self._channel.metadata(metadata)
        return self._call(request, timeout=timeout, metadata=pairs, **options)

    def _count(self, code: grpc.StatusCode) -> None:
        GRPC_CLIENT_REQUESTS.labels(self._service, self._name, code.name).inc()


class AnswerStream:
    """The answers of a call, one by one. Raises our own errors. `cancel`, or leaving an `async with`, ends it."""

    def __init__(self, opening: Any, count: Callable[[grpc.StatusCode], None]) -> None:
        self._opening, self._count = opening, count
        self._call: Any = None
        self._answers: AsyncIterator[Any] | None = None
        self._cancelled = False

    def cancel(self) -> None:
        """Ends the stream; whoever reads it sees its end."""
        self._cancelled = True
        if self._call is not None:
            self._call.cancel()

    async def __aenter__(self) -> "AnswerStream":
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.cancel()

    def __aiter__(self) -> "AnswerStream":
        return self

    async def __anext__(self) -> Any:
        try:
            if self._answers is None:
                if self._cancelled:
                    raise StopAsyncIteration
                self._call = await self._opening
                self._answers = self._call.__aiter__()
            return await self._answers.__anext__()
        except StopAsyncIteration:
            self._count(grpc.StatusCode.CANCELLED if self._cancelled else grpc.StatusCode.OK)
            raise
        except grpc.aio.AioRpcError as rpc_error:
            self._count(rpc_error.code())
            raise error_of(rpc_error) from rpc_error
        except asyncio.CancelledError:
            if self._was_ours():
                raise StopAsyncIteration from None
            raise

    def _was_ours(self) -> bool:
        # gRPC tells of a cancelled call by CancelledError, as a cancelled task is told of itself.
        task = asyncio.current_task()
        return self._cancelled and (task is None or not task.cancelling())

    def __del__(self) -> None:
        if self._call is None:
            self._opening.close()


def back_off_s(attempt: int, retry_after_s: float | None) -> float:
    """Real seconds before the next attempt: doubling, with jitter, never sooner than the server asked for."""
    pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.0)
    if retry_after_s is None:
        return pause_s
    return max(pause_s, retry_after_s * random.uniform(1.0, 1.1))


def _with_id(request: Any) -> Any:
    """The request with an id by which the server knows a further try of it; the caller's own stays as it is."""
    named = type(request)()
    named.CopyFrom(request)
    named.request_id = new_uid()
    return named


def _shortest(timeout_s: float) -> float:
    """A call made on behalf of another one ends with it."""
    left_s = remaining_s()
    return timeout_s if left_s is None else min(timeout_s, left_s)
