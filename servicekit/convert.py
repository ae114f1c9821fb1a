"""Between the contract's types and Python's: instants, dates, positions, field masks, etags.

Converters are called `<thing>_from_proto` and `<thing>_to_proto`. Knows no message of a single service.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from domain import instants
from domain.errors import Conflict, InvalidInput, Violation
from lichtbuch.type.v1.types_pb2 import Date

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST: Final = -62135596800
_LATEST: Final = 253402300799


def timestamp_to_proto(instant: datetime) -> Timestamp:
    """An aware datetime as a timestamp, exact to the microsecond. Raises InvalidInput for a naive one."""
    if instant.utcoffset() is None:
        raise InvalidInput.of("instant", "an instant with a time zone is needed")
    elapsed = instant.astimezone(UTC) - _EPOCH
    return Timestamp(seconds=elapsed.days * 86400 + elapsed.seconds, nanos=elapsed.microseconds * 1000)


def optional_timestamp_to_proto(instant: datetime | None) -> Timestamp | None:
    """The same for what may be missing: None leaves the field unset."""
    return None if instant is None else timestamp_to_proto(instant)


def timestamp_from_proto(stamp: Timestamp, field: str = "timestamp") -> datetime:
    """A timestamp as an aware datetime in UTC, finer digits than microseconds cut off. Raises InvalidInput."""
    if not _EARLIEST <= stamp.seconds <= _LATEST or not 0 <= stamp.nanos < 1_000_000_000:
        raise InvalidInput.of(field, "not between the years 1 and 9999")
    return _EPOCH + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1000)


def optional_timestamp_from_proto(message: Message, field: str) -> datetime | None:
    """The instant in a field of a message; None where it is not set. Raises InvalidInput."""
    return timestamp_from_proto(getattr(message, field), field) if message.HasField(field) else None


def date_to_proto(day: date) -> Date:
    """A date."""
    return Date(year=day.year, month=day.month, day=day.day)


def date_from_proto(day: Date, field: str = "date") -> date:
    """A date. Raises InvalidInput for the 30th of February."""
    try:
        return date(day.year, day.month, day.day)
    except ValueError as error:
        raise InvalidInput.of(field, f"{day.year}-{day.month}-{day.day} is not a date") from error


unix_ms = instants.unix_ms


def instant_of_unix_ms(milliseconds: int) -> datetime:
    """The instant (UTC) of milliseconds since 1970. Raises InvalidInput beyond the years 1 and 9999."""
    try:
        return instants.from_unix_ms(milliseconds)
    except OverflowError as error:
        raise InvalidInput.of("instant", "not between the years 1 and 9999") from error


def mask_paths(
    mask: FieldMask,
    settable: Sequence[str],
    *,
    fixed: Iterable[str] = ("name", "uid", "etag"),
    field: str = "update_mask",
) -> list[str]:
    """Top-level fields that an update changes, in the order of `settable`.

    An empty mask means all settable fields, so does "*". A path below a settable field stands for the whole of it.
    Paths of `fixed` fields are ignored. Raises InvalidInput that names every path that cannot be changed.
    """
    paths = list(mask.paths)
    if not paths or paths == ["*"]:
        return list(settable)
    heads = [path.split(".", 1)[0] for path in paths]
    wrong = [
        Violation(f"{field}.paths[{index}]", f"{path!r} is not a field that can be changed")
        for index, (path, head) in enumerate(zip(paths, heads, strict=True))
        if head not in settable and head not in tuple(fixed)
    ]
    if wrong:
        raise InvalidInput(violations=wrong)
    return [name for name in settable if name in heads]


def apply_mask(target: Message, source: Message, paths: Iterable[str]) -> None:
    """Copies top-level fields from one message to another of its type; what is unset in the source is cleared."""
    for path in paths:
        description = target.DESCRIPTOR.fields_by_name[path]
        target.ClearField(path)
        if description.is_repeated:
            getattr(target, path).MergeFrom(getattr(source, path))
        elif description.has_presence:
            if source.HasField(path):
                if description.message_type is not None:
                    getattr(target, path).CopyFrom(getattr(source, path))
                else:
                    setattr(target, path, getattr(source, path))
        else:
            setattr(target, path, getattr(source, path))


def etag_of(*parts: object) -> str:
    """An etag over what identifies a version, for instance a row's revision."""
    return hashlib.sha256("\0".join(str(part) for part in parts).encode()).hexdigest()[:16]


def check_etag(given: str, current: str) -> None:
    """Raises Conflict if the client holds another version; an empty one means that it does not care."""
    if given and given != current:
        raise Conflict("somebody else changed it meanwhile: read it again (etag)")
