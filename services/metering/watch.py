"""Watching: readings as they are stored, in the order of the feed, to each reader at its own pace.

A reader asks the feed for what comes after what it has seen; nothing is buffered for it, so a slow one costs nothing
and misses nothing. It is woken by what this process stores and looks by itself for what other replicas do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlmodel import Session

from servicekit.database import Database
from servicekit.waiting import happens_within
from services.metering.reading import Readings
from services.metering.store import feed
from services.metering.store.readings import fetch_batch

LOOK_EVERY_S: Final = 1.0
PIECE: Final = 10_000
"""Most readings in one message."""
_BATCHES: Final = 100


class Bell:
    """Wakes whoever waits for new readings."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Something was stored."""
        self._event.set()
        self._event = asyncio.Event()

    def ticket(self) -> asyncio.Event:
        """What will be set when something is stored from now on: taken before looking, so nothing is slept over."""
        return self._event


@dataclass(frozen=True, slots=True)
class Position:
    """How far a reader has come: everything up to a batch, and so many readings of the next one."""

    sequence: int
    sent: int = 0


Keys = Callable[[Session], list[int]]


async def newest(database: Database) -> Position:
    """The position of whoever wants what is stored from now on."""
    return Position(await database.read(feed.newest))


async def follow(
    database: Database, bell: Bell, keys: Keys, position: Position
) -> AsyncIterator[tuple[Readings, Position]]:
    """Readings of the registers that `keys` tells (asked each time: meters come and go), each with the position after
    it.

    Never ends. Raises Unavailable while the database is away: the reader comes back with its position.
    """
    while True:
        ticket = bell.ticket()
        pieces, reached = await database.read(partial(_next, keys=keys, position=position))
        for piece in pieces:
            yield piece
        if reached == position:
            await happens_within(ticket, LOOK_EVERY_S)
        position = reached


def _next(session: Session, keys: Keys, position: Position) -> tuple[list[tuple[Readings, Position]], Position]:
    """The pieces of the next batches, and the position after them."""
    batches = feed.batches_after(session, position.sequence, _BATCHES)
    if not batches:
        return [], position
    wanted = keys(session)
    pieces: list[tuple[Readings, Position]] = []
    count = 0
    for batch in batches:
        sequence = batch.feed_sequence or 0
        found = fetch_batch(session, wanted, batch.id or 0, batch.first_slot_ms, batch.last_slot_ms + 1)
        for begin in range(position.sent, len(found), PIECE):
            piece = found.take(slice(begin, begin + PIECE))
            done = begin + len(piece) >= len(found)
            pieces.append((piece, Position(sequence) if done else Position(position.sequence, begin + len(piece))))
        position = Position(sequence)
        count += len(found)
        if count >= PIECE:
            break
    return pieces, position
