"""asyncua's decoder made safe against servers that lie about lengths, or send so much that everybody else has to wait.

Its habits that let few bytes stop the whole process: an array of nulls takes no bytes per element, so a count of 2^31
is believed; a negative length other than -1 moves the reading position back, so that a list of texts reads itself over
and over; the dimensions of an array are filled up with empty lists. And a message of eight megabytes may hold as many
values, which to decode takes half a minute in which nothing else happens. Importing this module mends that: every
buffer carries a number of steps that decoding its message may take. Nothing else of asyncua is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

from asyncua.common.utils import Buffer, NotEnoughData
from asyncua.ua import ua_binary
from asyncua.ua.uaerrors import UaError

# Steps of decoding are what a buffer is read in, and elements of arrays: each takes a few microseconds.
STEPS: Final = 120_000
_ELEMENTS_PER_STEP: Final = 20  # of numbers, which are decoded together
_MOST_DIMENSIONS: Final = 8
_NO_ARRAY: Final = -1


class _Steps:
    """How many steps are left; shared by all views of one message."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left


def allow(message: Buffer, steps: int) -> None:
    """Let the decoding of a message take so many steps from now on."""
    _of(message).left = steps


def take(message: Buffer, steps: int) -> None:
    """Count steps that are made beside the buffer. Raises UaError when there are none left."""
    counter = _of(message)
    counter.left -= steps
    if counter.left < 0:
        raise UaError("the message has more values than can be meant")


def view(message: Buffer, data: bytes, position: int) -> Buffer:
    """A buffer over bytes that were taken from a message: reading it counts as reading the message."""
    buffer = Buffer(data, position)
    buffer._steps = _of(message)  # type: ignore[attr-defined]
    return buffer


def _of(buffer: Buffer) -> _Steps:
    counter: _Steps = buffer._steps  # type: ignore[attr-defined]
    return counter


class _Nulls:
    """Arrays of nulls: only the empty one exists."""

    @staticmethod
    def unpack_array(data: Any, length: int) -> list[Any]:
        if length > 0:
            raise UaError(f"an array of {length} nulls is none")
        return []

    @staticmethod
    def pack_array(array: Sequence[Any] | None) -> bytes:
        return ua_binary.Primitives.Int32.pack(_NO_ARRAY if array is None else len(array))


def _init(self: Buffer, data: bytes, start_pos: int = 0, size: int = -1) -> None:
    _init_of_asyncua(self, data, start_pos, size)
    self._steps = _Steps(STEPS)  # type: ignore[attr-defined]


def _copy(self: Buffer, size: int = -1) -> Buffer:
    buffer = _copy_of_asyncua(self, size)
    buffer._steps = _of(self)  # type: ignore[attr-defined]
    return buffer


def _read(self: Buffer, size: int) -> bytes:
    if not 0 <= size <= self._size:
        raise NotEnoughData(f"{size} bytes are wanted and {self._size} are there")
    take(self, 1)
    position = self._cur_pos
    self._size -= size
    self._cur_pos = end = position + size
    data: bytes = self._data[position:end]
    return data


def _skip(self: Buffer, size: int) -> None:
    if not 0 <= size <= self._size:
        raise NotEnoughData(f"{size} bytes are to be skipped and {self._size} are there")
    self._size -= size
    self._cur_pos += size


def _check_count(data: Any, count: int, per_step: int) -> None:
    """Raises UaError for more elements than the bytes can bear: each has one at least, but for types without content,
    which nobody sends many of."""
    if isinstance(data, Buffer):
        if count > len(data):
            raise NotEnoughData(f"{count} elements cannot be in {len(data)} bytes")
        take(data, max(count, 0) // per_step)


def _array_deserializer(vtype: Any) -> Callable[[Any], list[Any] | None]:
    """Instead of asyncua's: counts before it decodes."""
    numbers = getattr(ua_binary.Primitives1, vtype.name, None)
    one = None if numbers is not None else ua_binary._create_uatype_deserializer(vtype)

    def deserialize(data: Any) -> list[Any] | None:
        length = ua_binary.Primitives.Int32.unpack(data)
        if length == _NO_ARRAY:
            return None
        if one is None:
            _check_count(data, 0 if isinstance(numbers, type) else length, _ELEMENTS_PER_STEP)
            return list(numbers.unpack_array(data, length))  # type: ignore[union-attr]
        _check_count(data, length, 1)
        return [one(data) for _ in range(length)]

    return deserialize


def _list_deserializer(kind: Any) -> Callable[[Any], list[Any]]:
    """Instead of asyncua's: counts before it decodes. What an element is, is looked up late, as types may contain
    themselves."""
    one: Callable[[Any], Any] | None = None

    def deserialize(data: Any) -> list[Any]:
        nonlocal one
        size = ua_binary.Primitives.Int32.unpack(data)
        _check_count(data, size, 1)
        if one is None:
            nobody: Any = type(None)
            one = ua_binary._create_type_deserializer(kind, nobody)
        return [one(data) for _ in range(size)]

    return deserialize


def _reshape(flat: list[Any], dims: list[int]) -> list[Any]:
    """Instead of asyncua's: rows of rows, where the dimensions say what is there; else the elements as they came."""
    if not dims or len(dims) > _MOST_DIMENSIONS or not isinstance(flat, list):
        return flat
    declared = 1
    for length in dims:
        declared *= length
    if min(dims) < 1 or declared != len(flat):
        return flat
    for length in reversed(dims[1:]):
        flat = [flat[at : at + length] for at in range(0, len(flat), length)]
    return flat


def harden() -> None:
    """Do it."""
    Buffer.__init__ = _init  # type: ignore[method-assign]
    Buffer.copy = _copy  # type: ignore[method-assign]
    Buffer.read = _read  # type: ignore[method-assign]
    Buffer.skip = _skip  # type: ignore[method-assign]
    ua_binary.Primitives1.Null = _Nulls  # type: ignore[attr-defined]
    ua_binary._reshape = _reshape
    deserializers: tuple[Any, ...] = (
        ua_binary._create_uatype_array_deserializer,
        ua_binary._create_list_deserializer,
        ua_binary._create_type_deserializer,
        ua_binary._create_dataclass_deserializer,
        ua_binary.create_uatype_array_serializer,
    )
    ua_binary._create_uatype_array_deserializer = cache(_array_deserializer)
    ua_binary._create_list_deserializer = cache(_list_deserializer)
    for made in deserializers:
        made.cache_clear()


_init_of_asyncua: Final = Buffer.__init__
_copy_of_asyncua: Final = Buffer.copy
harden()
