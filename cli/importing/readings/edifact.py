"""EDIFACT's syntax (ISO 9735): a stream of characters into segments of elements of components, not what they mean.

UNA says which characters part what; the release character takes its meaning from the one behind it. Line breaks between
segments are no part of them. Memory holds one segment.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Final

from domain.errors import InvalidInput

MAX_SEGMENT: Final = 10_000
DEFAULT_MARKS: Final = ":+.? '"
"""Component, element, decimal mark, release, (reserved), end of segment."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment: its number in the file (UNA is not one), its tag, its elements with their components."""

    number: int
    tag: str
    elements: tuple[tuple[str, ...], ...]

    def get(self, element: int, component: int = 0) -> str:
        """A component, counted from 0 behind the tag; empty where it is not there."""
        if element < len(self.elements) and component < len(self.elements[element]):
            return self.elements[element][component]
        return ""


class BrokenOff(Exception):
    """The file ends within a segment, which is `text`."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"segment {number} has no end")
        self.number, self.text = number, text


class Segments:
    """The segments of a stream."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        head = stream.read(9)
        given = head[3:9] if head.startswith("UNA") else DEFAULT_MARKS
        if len(given) != 6 or len({given[0], given[1], given[3], given[5]}) != 4:
            raise InvalidInput.of("file", "segment UNA does not name six marks: the file is no EDIFACT")
        self._component, self._element, self._release, self._end = (given[at] for at in (0, 1, 3, 5))
        self._pending = "" if head.startswith("UNA") else head

    def __iter__(self) -> Iterator[Segment]:
        number = 0
        for text in self._texts():
            number += 1
            try:
                yield self._parse(number, text)
            except ValueError as error:
                yield Segment(number, "", ((str(error),),))
        if self._pending.strip():
            raise BrokenOff(number + 1, self._pending.strip()[:40])

    def _texts(self) -> Iterator[str]:
        """Segments without their ends. A release character before the end takes its meaning."""
        buffer, at = self._pending, 0
        while True:
            found = buffer.find(self._end, at)
            if found >= 0:
                releases = 0
                while found - releases > 0 and buffer[found - releases - 1] == self._release:
                    releases += 1
                if releases % 2:
                    at = found + 1
                    continue
                yield buffer[:found].lstrip("\r\n\t ")
                buffer, at = buffer[found + 1 :], 0
                continue
            if len(buffer) > MAX_SEGMENT:
                raise InvalidInput.of("file", f"a segment is longer than {MAX_SEGMENT} characters: this is no EDIFACT")
            at = len(buffer)
            more = self._stream.read(MAX_SEGMENT)
            if not more:
                self._pending = buffer
                return
            buffer += more

    def _parse(self, number: int, text: str) -> Segment:
        if self._release not in text:
            parts = tuple(tuple(element.split(self._component)) for element in text.split(self._element))
        else:
            parts = tuple(
                tuple(self._plain(component) for component in self._split(element, self._component))
                for element in self._split(text, self._element)
            )
        tag = parts[0][0].strip()
        if len(tag) != 3 or not tag.isalnum() or not tag.isupper():
            raise ValueError(f"begins with {tag[:10]!r}, which is no tag of three letters")
        return Segment(number, tag, parts[1:])

    def _split(self, text: str, mark: str) -> list[str]:
        parts, begin, at = [], 0, 0
        while at < len(text):
            if text[at] == self._release:
                at += 2
                continue
            if text[at] == mark:
                parts.append(text[begin:at])
                begin = at + 1
            at += 1
        return [*parts, text[begin:]]

    def _plain(self, text: str) -> str:
        plain, at = [], 0
        while at < len(text):
            if text[at] == self._release and at + 1 < len(text):
                at += 1
            plain.append(text[at])
            at += 1
        return "".join(plain)
