"""Several sessions with one server, for more monitored items than one session should or may carry.

Items are counted per session, whoever of the devices on the link asked for them. A server also limits items per
subscription and per request; that is kept by subscription.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

# Servers work a session's subscriptions off one after the other: beyond a few thousand changes a second per session
# they lag (asyncua's own at about 6 000, where 3 000 are well).
ITEMS_PER_SESSION: Final = 5000
MOST_SESSIONS: Final = 8

Link = TypeVar("Link")


@dataclass(frozen=True, slots=True, eq=False)
class Share(Generic[Link]):
    """Room for some items on one session's link."""

    link: Link
    count: int


class Shards(Generic[Link]):
    """The links to one server, and how many items each carries."""

    def __init__(self, first: Link, another: Callable[[], Link]) -> None:
        self._links = [first]
        self._used = [0]
        self._another = another

    def claim(self, count: int, full: Collection[Link] = ()) -> list[Share[Link]]:
        """Room for `count` items, on as few sessions as carry them; `full` are links whose server takes no more.

        When all sessions have their share, the rest is spread evenly: too much is still better than nothing. Less
        than asked for, or nothing, when every session there may be is full.
        """
        shares: list[Share[Link]] = []
        left = count
        position = 0
        while left and position < MOST_SESSIONS:
            if position == len(self._links):
                self._links.append(self._another())
                self._used.append(0)
            room = max(0, ITEMS_PER_SESSION - self._used[position])
            if room and self._links[position] not in full:
                taken = min(room, left)
                shares.append(self._take(position, taken))
                left -= taken
            position += 1
        usable = [index for index, link in enumerate(self._links) if link not in full]
        for number, index in enumerate(usable):
            taken = left // (len(usable) - number)
            if taken:
                shares.append(self._take(index, taken))
                left -= taken
        return shares

    def release(self, share: Share[Link]) -> None:
        """Give room back."""
        self._used[self._links.index(share.link)] -= share.count

    def _take(self, position: int, count: int) -> Share[Link]:
        self._used[position] += count
        return Share(self._links[position], count)
