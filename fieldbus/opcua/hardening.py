"""asyncua's decoder made safe against servers that lie about lengths.

Two of its habits let a handful of bytes stop the whole process: an array of nulls takes no bytes per element, so a
count of 2^31 is believed; and a negative length other than -1 moves the reading position back, so that a list of texts
reads itself over and over. Importing this module mends both; nothing else of asyncua is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from asyncua.common.utils import Buffer, NotEnoughData
from asyncua.ua import ua_binary
from asyncua.ua.uaerrors import UaError

_NO_ARRAY: Final = -1


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


def _read(self: Buffer, size: int) -> bytes:
    if not 0 <= size <= self._size:
        raise NotEnoughData(f"{size} bytes are wanted and {self._size} are there")
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


def harden() -> None:
    """Do it; doing it twice changes nothing."""
    Buffer.read = _read  # type: ignore[method-assign]
    Buffer.skip = _skip  # type: ignore[method-assign]
    ua_binary.Primitives1.Null = _Nulls  # type: ignore[attr-defined]
    ua_binary._create_uatype_array_deserializer.cache_clear()
    ua_binary.create_uatype_array_serializer.cache_clear()


harden()
