"""Who watches luminaires gets all once and then what changed, as fast as they read: a slow reader misses states in
between, never the newest one. A token resumes within the same run of the service; any other begins anew.

Nothing is kept of what a reader was sent: revisions say it. A luminaire whose last fault cleared bears the revision at
which it did, so that who watches faults only is told of it once, also after resuming or reading slowly. Not here: who
may watch what (api/selection.py), how revisions come about (state.py).
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
    """Luminaires that changed, by row. `snapshot`: part of a complete picture. The last part of it has the token."""

    columns: Columns
    rows: Rows
    snapshot: bool
    token: str


def encode_token(run_id: str, revision: int, asked: str = "") -> str:
    """A token that says: seen up to this revision of this run, of what was asked for."""
    return base64.urlsafe_b64encode(f"{run_id}:{revision}:{asked}".encode()).decode().rstrip("=")


def decode_token(token: str, run_id: str, asked: str = "") -> int | None:
    """The revision that a token has seen; None for one of another run, of what somebody else asked for, or none."""
    try:
        text = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode("ascii")
        run, revision, of = text.split(":")
        return int(revision) if (run, of) == (run_id, asked) else None
    except (ValueError, binascii.Error):
        return None


async def watch(
    state: TownState,
    select: Select,
    token: str,
    *,
    asked: str = "",
    faulty_only: bool = False,
    pause: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[News]:
    """News for ever. `pause` is awaited before each round after the first: it paces the stream.

    asked: stands for what is selected; a token of anything else begins anew. Rows hold until the reader asks for the
    next piece of news, no longer: the inventory may be another one then.
    """
    seen = decode_token(token, state.run_id, asked)
    if seen is not None and not state.moved_at <= seen <= state.revision:
        seen = None  # what left the selection since, nobody knows any more
    snapshot, left = seen is None, False
    known: frozenset[str] = frozenset()
    at: Columns | None = None
    while True:
        columns, revision = state.columns, state.revision
        wanted = select(columns)
        if columns is not at:
            uids = frozenset(columns.uids[row] for row in np.flatnonzero(wanted).tolist())
            left = left or not known <= uids
            known, at = uids, columns
        if left and not snapshot:
            snapshot, left = True, False
        if not snapshot:
            wanted &= state.changed > (seen or 0)
        if faulty_only:
            faulty = state.published.faults != 0
            wanted &= faulty if snapshot else faulty | (state.cleared > (seen or 0))
        rows = np.flatnonzero(wanted)
        complete = True
        for start in range(0, max(rows.size, 1 if snapshot else 0), CHUNK):
            if state.columns is not columns:
                complete = False  # begin this round again, with the inventory of now
                break
            # Who breaks off within a round resumes before it: only its last part has seen it all.
            last = start + CHUNK >= rows.size
            unfinished = "" if snapshot else encode_token(state.run_id, seen or 0, asked)
            token_now = encode_token(state.run_id, revision, asked) if last else unfinished
            yield News(columns, rows[start : start + CHUNK], snapshot, token_now)
        if not complete:
            continue
        seen, snapshot = revision, False
        if left:
            continue  # luminaires of a picture that was broken off are gone: one more, without them
        if pause is not None:
            await pause()
        await state.wait_for_news(revision)
