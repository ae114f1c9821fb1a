"""The one translation between our errors and gRPC status with details (google.rpc), for servers and for clients.

Details: ErrorInfo (a reason for machines), RequestInfo, BadRequest or PreconditionFailure (field violations),
ResourceInfo, RetryInfo. They travel in a header of limited size, so long lists are cut and say so.
"""

from collections.abc import Iterable, Mapping
from typing import Final, cast

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2

from domain import errors

DOMAIN: Final = "lichtbuch"
STATUS_HEADER: Final = "grpc-status-details-bin"
REQUEST_ID_HEADER: Final = "x-request-id"

_MAX_MESSAGE: Final = 1000
_MAX_REASON: Final = 300
_MAX_VIOLATIONS_BYTES: Final = 4000

_CODES: Final[Mapping[type[errors.LichtbuchError], grpc.StatusCode]] = {
    errors.InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Conflict: grpc.StatusCode.ABORTED,
    errors.NotPermitted: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotAuthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.Corrupted: grpc.StatusCode.DATA_LOSS,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.Exhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.TimedOut: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.RetryableError: grpc.StatusCode.UNAVAILABLE,
    errors.PermanentError: grpc.StatusCode.INTERNAL,
    errors.LichtbuchError: grpc.StatusCode.INTERNAL,
}

_CLASSES: Final[Mapping[grpc.StatusCode, type[errors.LichtbuchError]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidInput,
    grpc.StatusCode.OUT_OF_RANGE: errors.OutOfLimits,
    grpc.StatusCode.NOT_FOUND: errors.NotFound,
    grpc.StatusCode.ALREADY_EXISTS: errors.AlreadyExists,
    grpc.StatusCode.FAILED_PRECONDITION: errors.FailedPrecondition,
    grpc.StatusCode.ABORTED: errors.Conflict,
    grpc.StatusCode.PERMISSION_DENIED: errors.NotPermitted,
    grpc.StatusCode.UNAUTHENTICATED: errors.NotAuthenticated,
    grpc.StatusCode.DATA_LOSS: errors.Corrupted,
    grpc.StatusCode.UNAVAILABLE: errors.Unavailable,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.Exhausted,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.TimedOut,
    grpc.StatusCode.CANCELLED: errors.RetryableError,
}


def code_of(error: errors.LichtbuchError) -> grpc.StatusCode:
    """The gRPC code of an error: that of its class or of the nearest class above."""
    for ancestor in type(error).__mro__:
        if ancestor in _CODES:
            return _CODES[ancestor]
    return grpc.StatusCode.INTERNAL


def status_of(error: errors.LichtbuchError, request_id: str) -> status_pb2.Status:
    """The status with its details."""
    status = status_pb2.Status(code=code_of(error).value[0], message=_cut(error.message, _MAX_MESSAGE))
    _add(status, details.ErrorInfo(reason=error.code, domain=DOMAIN))
    if request_id:
        _add(status, details.RequestInfo(request_id=request_id))
    if isinstance(error, errors.InvalidInput):
        bad = details.BadRequest()
        for field, reason in _fitting(error.violations):
            bad.field_violations.add(field=field, description=reason)
        _add(status, bad)
    elif isinstance(error, errors.FailedPrecondition):
        failure = details.PreconditionFailure()
        for field, reason in _fitting(error.violations):
            failure.violations.add(type="STATE", subject=field, description=reason)
        _add(status, failure)
    elif isinstance(error, errors.NotFound | errors.AlreadyExists):
        _add(status, details.ResourceInfo(resource_name=_cut(error.resource, 400), description=""))
    elif isinstance(error, errors.RetryableError) and error.retry_after_s is not None:
        nanos = round(max(0.0, error.retry_after_s) * 1e9)
        delay = Duration(seconds=nanos // 10**9, nanos=nanos % 10**9)
        _add(status, details.RetryInfo(retry_delay=delay))
    return status


def error_of(rpc_error: grpc.aio.AioRpcError) -> errors.LichtbuchError:
    """Our error for what a call raised: the same class and violations that the server raised, where it is ours."""
    found = _read_details(rpc_error)
    code, message = rpc_error.code(), rpc_error.details() or str(rpc_error.code())
    kind = _CLASSES.get(code, errors.PermanentError)
    named = _class_named(found.info.reason) if found.info.domain == DOMAIN else None
    if named is not None:
        kind = named
    if issubclass(kind, errors.InvalidInput | errors.FailedPrecondition):
        return kind(message, found.violations)
    if issubclass(kind, errors.NotFound | errors.AlreadyExists):
        return kind(found.resource, message)
    if issubclass(kind, errors.RetryableError):
        return kind(message, found.retry_after_s)
    return kind(message)


class _Found:
    """What the details of a status say."""

    def __init__(self) -> None:
        self.info = details.ErrorInfo()
        self.violations: list[errors.Violation] = []
        self.resource = ""
        self.retry_after_s: float | None = None


def _read_details(rpc_error: grpc.aio.AioRpcError) -> _Found:
    found = _Found()
    pairs = cast(Iterable[tuple[str, str | bytes]], rpc_error.trailing_metadata() or ())
    for key, value in pairs:
        if key == STATUS_HEADER and isinstance(value, bytes):
            try:
                status = status_pb2.Status.FromString(value)
            except DecodeError:
                continue
            for packed in status.details:
                _take(packed, found)
    return found


def _take(packed: AnyMessage, found: _Found) -> None:
    bad, failure = details.BadRequest(), details.PreconditionFailure()
    resource, retry = details.ResourceInfo(), details.RetryInfo()
    if packed.Unpack(found.info):
        return
    if packed.Unpack(bad):
        found.violations += [errors.Violation(v.field, v.description) for v in bad.field_violations]
    elif packed.Unpack(failure):
        found.violations += [errors.Violation(v.subject, v.description) for v in failure.violations]
    elif packed.Unpack(resource):
        found.resource = resource.resource_name
    elif packed.Unpack(retry):
        found.retry_after_s = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9


def _class_named(code: str) -> type[errors.LichtbuchError] | None:
    return next((kind for kind in _all_classes(errors.LichtbuchError) if kind.code == code), None)


def _all_classes(root: type[errors.LichtbuchError]) -> list[type[errors.LichtbuchError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in _all_classes(child))]


def _fitting(violations: tuple[errors.Violation, ...]) -> list[tuple[str, str]]:
    result: list[tuple[str, str]] = []
    room = _MAX_VIOLATIONS_BYTES
    for index, violation in enumerate(violations):
        reason = _cut(violation.reason, _MAX_REASON)
        room -= len(violation.field.encode()) + len(reason.encode()) + 8
        if room < 0:
            result.append(("", f"and {len(violations) - index} more"))
            break
        result.append((violation.field, reason))
    return result


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _add(status: status_pb2.Status, message: Message) -> None:
    status.details.add().Pack(message)
