"""Methods that give readings out: in pages, as a stream of any length, and as they are stored."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import numpy as np
from sqlmodel import Session

from domain.errors import InvalidInput
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.context import scope_aware
from servicekit.convert import timestamp_to_proto
from servicekit.paging import decode_token, encode_token, page_size_of
from services.metering.api.calls import Calls, Context, meter_name, seen_rows
from services.metering.api.convert import period_from_proto, readings_to_proto
from services.metering.life import RegisterLife
from services.metering.metrics import WATCHERS
from services.metering.reading import Readings
from services.metering.store.batches import batch_ids, rows_of
from services.metering.store.lives import lives_of
from services.metering.store.readings import Cursor, page
from services.metering.watch import Position, follow, newest

_DEFAULT_PAGE = 10_000
_LARGEST_PAGE = 100_000
_EXPORT_PIECE = 50_000


def _lives_and_names(session: Session, names: list[str]) -> tuple[list[RegisterLife], dict[int, str]]:
    """Registers of the meters that are wanted and may be seen, and the meter's name for each."""
    rows = seen_rows(session, names)
    lives = lives_of(session, [row.uid for _, row in rows])
    named = {life.key: meter_name(tenant.id, row) for tenant, row in rows for life in lives[row.uid]}
    return [life for found in lives.values() for life in found], named


class ReadingCalls(Calls):
    """Readings."""

    @scope_aware
    async def ListReadings(self, request: pb.ListReadingsRequest, context: Context) -> pb.ListReadingsResponse:
        """A page of readings by slot and meter: the current ones, or all revisions with where each comes from."""
        start_ms, end_ms = period_from_proto(request)
        size = page_size_of(request, _DEFAULT_PAGE, _LARGEST_PAGE)
        after = _cursor(decode_token(request), "page_token")
        columns, following = await self.database.read(
            lambda session: _page(
                session,
                list(request.meters),
                start_ms,
                end_ms,
                size,
                after,
                all_revisions=request.all_revisions,
                origins=request.all_revisions,
            )
        )
        token = "" if following is None else encode_token(request, [following.slot_ms, following.register])
        return pb.ListReadingsResponse(readings=columns, next_page_token=token)

    @scope_aware
    async def ExportReadings(
        self, request: pb.ExportReadingsRequest, context: Context
    ) -> AsyncIterator[pb.ExportReadingsResponse]:
        """All current readings of a period with where they come from, in pieces: the next one is read when the last one
        has been taken."""
        start_ms, end_ms = period_from_proto(request)
        after: Cursor | None = None
        while True:
            wanted = partial(
                _page,
                names=list(request.meters),
                start_ms=start_ms,
                end_ms=end_ms,
                size=_EXPORT_PIECE,
                after=after,
                origins=True,
            )
            columns, after = await self.database.read(wanted)
            if len(columns.values):
                yield pb.ExportReadingsResponse(readings=columns)
            if after is None:
                return

    @scope_aware
    async def WatchReadings(
        self, request: pb.WatchReadingsRequest, context: Context
    ) -> AsyncIterator[pb.WatchReadingsResponse]:
        """Readings as they are stored. The first message is empty and brings the token to resume from."""
        query = pb.ListReadingsRequest(parent=request.parent, meters=request.meters, page_token=request.resume_token)
        position = _position(query) if request.resume_token else await newest(self.database)
        names: dict[int, str] = {}

        def keys(session: Session) -> list[int]:
            lives, found = _lives_and_names(session, list(request.meters))
            names.update(found)
            return [life.key for life in lives]

        # What the request names wrongly is said at once, not with the first reading.
        await self.database.read(keys)
        WATCHERS.inc()
        try:
            yield pb.WatchReadingsResponse(resume_token=_token(query, position))
            async for readings, reached in follow(self.database, self.bell, keys, position):
                columns = readings_to_proto(readings, names)
                yield pb.WatchReadingsResponse(readings=columns, resume_token=_token(query, reached))
        finally:
            WATCHERS.dec()


def _page(
    session: Session,
    names: list[str],
    start_ms: int,
    end_ms: int,
    size: int,
    after: Cursor | None,
    *,
    all_revisions: bool = False,
    origins: bool = False,
) -> tuple[pb.ReadingColumns, Cursor | None]:
    lives, named = _lives_and_names(session, names)
    readings, following = page(session, lives, start_ms, end_ms, size, after, all_revisions=all_revisions)
    columns = readings_to_proto(readings, named)
    if origins:
        _add_batches(session, readings, columns)
    return columns, following


def _add_batches(session: Session, readings: Readings, columns: pb.ReadingColumns) -> None:
    """Says of each revision where it comes from, who brought it, when and why."""
    ids, places = np.unique(batch_ids(session, readings), return_inverse=True)
    rows = rows_of(session, ids.tolist())
    for batch_id in ids.tolist():
        row = rows[batch_id]
        stored_at = timestamp_to_proto(row.stored_at)
        columns.batches.add(source=row.source, actor=row.actor, stored_at=stored_at, reason=row.reason)
    columns.batch_indexes.extend(places.tolist())


def _cursor(key: list[str | int | None] | None, field: str) -> Cursor | None:
    if key is None:
        return None
    if len(key) != 2 or not all(isinstance(part, int) for part in key):
        raise InvalidInput.of(field, "not a token of this method")
    return Cursor(int(key[0] or 0), int(key[1] or 0))


def _token(query: pb.ListReadingsRequest, position: Position) -> str:
    return encode_token(query, [position.sequence, position.sent])


def _position(query: pb.ListReadingsRequest) -> Position:
    try:
        cursor = _cursor(decode_token(query), "resume_token")
    except InvalidInput as error:
        raise InvalidInput.of("resume_token", error.violations[0].reason) from error
    if cursor is None:
        raise InvalidInput.of("resume_token", "not a token of this method")
    return Position(cursor.slot_ms, cursor.register)
