"""Who watches luminaires gets all once and then what changed, as fast as they read: a slow reader misses states in
between, never the newest one. A token resumes within the same run of the service; any other begins anew.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.lighting.columns import Columns, Flags, Rows
from services.lighting.state import TownState

CHUNK: Final = 2_000
"""Luminaires per message."""

Select = Callable[[Columns], Flags]
"""Which luminaires of an inventory somebody watches."""


@dataclass(frozen=True, slots=True)
class News:
    """Luminaires that changed, by row. `snapshot`: part of the first, complete picture. The last part has the token."""

    columns: Columns
    rows: Rows
    snapshot: bool
    token: str


def encode_token(run_id: str, revision: int) -> str:
    """A token that says: seen up to this revision of this run."""
    return base64.urlsafe_b64encode(f"{run_id}:{revision}".encode()).decode().rstrip("=")


def decode_token(token: str, run_id: str) -> int | None:
    """The revision that a token has seen; None for a token of another run, or none at all."""
    try:
        text = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode("ascii")
        run, _, revision = text.partition(":")
        return int(revision) if run == run_id else None
    except (ValueError, binascii.Error):
        return None


async def watch(
    state: TownState, select: Select, token: str, *, pause: Callable[[], Awaitable[None]] | None = None
) -> AsyncIterator[News]:
    """News for ever. `pause` is awaited before each round after the first: it paces the stream.

    Rows hold until the reader asks for the next piece of news, no longer: the inventory may be another one then.
    """
    seen = decode_token(token, state.run_id)
    if seen is not None and seen > state.revision:
        seen = None
    snapshot = seen is None
    while True:
        columns, revision = state.columns, state.revision
        wanted = select(columns)
        rows = np.flatnonzero(wanted if snapshot else wanted & (state.changed > (seen or 0)))
        complete = True
        for start in range(0, max(rows.size, 1 if snapshot else 0), CHUNK):
            if state.columns is not columns:
                complete = False  # begin this round again, with the inventory of now
                break
            # Who breaks off within a round resumes before it: only its last part has seen it all.
            last = start + CHUNK >= rows.size
            unfinished = "" if snapshot else encode_token(state.run_id, seen or 0)
            token_now = encode_token(state.run_id, revision) if last else unfinished
            yield News(columns, rows[start : start + CHUNK], snapshot, token_now)
        if not complete:
            continue
        seen, snapshot = revision, False
        if pause is not None:
            await pause()
        await state.wait_for_news(revision)
