"""Level history in the database: changes go in once, and come out for a period with what held when it began."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import sqlalchemy as sa
from sqlmodel import Session

from servicekit.columns import insert_ignore, table_of
from services.lighting.energy import LevelChanges
from services.lighting.history import Change
from services.lighting.store.tables import LevelChangeRow, LevelSeriesRow, ObservedRow

_CHUNK = 5_000


def add_changes(session: Session, changes: Sequence[Change], numbers: dict[str, int]) -> int:
    """Stores changes; those that are there already change nothing. Returns how many were new.

    numbers: the caller's memory of series numbers by luminaire uid; what is missing is looked up and added to it.
    """
    unknown = sorted({change.uid for change in changes} - numbers.keys())
    if unknown:
        insert_ignore(session, LevelSeriesRow, [{"luminaire_uid": uid} for uid in unknown])
        numbers.update(_numbers(session, unknown))
    return insert_ignore(
        session,
        LevelChangeRow,
        [
            {"series": numbers[c.uid], "at_ms": c.at_ms, "level_permille": c.level_permille, "powered": c.powered}
            for c in changes
        ],
    )


def watched_until(session: Session) -> int | None:
    """Until when levels were watched, in Unix ms of domain time; None before the first time."""
    row = session.get(ObservedRow, 1)
    return None if row is None else row.until_ms


def set_watched_until(session: Session, until_ms: int) -> None:
    """Says until when levels were watched."""
    row = session.get(ObservedRow, 1) or ObservedRow(id=1, until_ms=until_ms)
    row.until_ms = until_ms
    session.add(row)


def last_changes(session: Session) -> dict[str, Change]:
    """The newest change of every luminaire, by uid."""
    series, change = table_of(LevelSeriesRow), table_of(LevelChangeRow)
    inner = change.alias("inner_change")
    newest = sa.select(sa.func.max(inner.c.at_ms)).where(inner.c.series == series.c.number).scalar_subquery()
    query = (
        sa.select(series.c.luminaire_uid, change.c.at_ms, change.c.level_permille, change.c.powered)
        .select_from(series)
        .join(change, (change.c.series == series.c.number) & (change.c.at_ms == newest))
    )
    return {row[0]: Change(row[0], row[1], row[2], row[3]) for row in session.connection().execute(query)}


def changes_of(session: Session, uids: Sequence[str], start_ms: int, end_ms: int) -> LevelChanges:
    """Changes of luminaires in [start, end), each preceded by what held at the start where that is known.

    Rows count the given uids.
    """
    row_of = {uid: row for row, uid in enumerate(uids)}
    row_of_series = {number: row_of[uid] for uid, number in _numbers(session, uids).items()}
    found: list[tuple[int, int, int, bool]] = []
    change, series = table_of(LevelChangeRow), table_of(LevelSeriesRow)
    c, inner = change.c, change.alias("inner_change").c
    # The newest change at or before the start, found by the key of each series.
    before = sa.select(sa.func.max(inner.at_ms)).where(inner.series == series.c.number).where(inner.at_ms <= start_ms)
    for numbers in _chunks(sorted(row_of_series)):
        held = (
            sa.select(c.series, c.at_ms, c.level_permille, c.powered)
            .select_from(series)
            .join(change, (series.c.number == c.series) & (c.at_ms == before.scalar_subquery()))
            .where(series.c.number.in_(numbers))
        )
        within = (
            sa.select(c.series, c.at_ms, c.level_permille, c.powered)
            .where(c.series.in_(numbers))
            .where(c.at_ms > start_ms)
            .where(c.at_ms < end_ms)
        )
        for query in (held, within):
            found += [(row_of_series[r[0]], r[1], r[2], r[3]) for r in session.connection().execute(query)]
    found.sort()
    columns = list(zip(*found, strict=True)) or [(), (), (), ()]
    return LevelChanges(
        np.array(columns[0], dtype=np.int64),
        np.array(columns[1], dtype=np.int64),
        np.array(columns[2], dtype=np.int16),
        np.array(columns[3], dtype=np.bool_),
    )


def _numbers(session: Session, uids: Sequence[str]) -> dict[str, int]:
    table = table_of(LevelSeriesRow)
    numbers: dict[str, int] = {}
    for at in range(0, len(uids), _CHUNK):
        query = sa.select(table.c.luminaire_uid, table.c.number).where(
            table.c.luminaire_uid.in_(uids[at : at + _CHUNK])
        )
        numbers.update((row[0], row[1]) for row in session.connection().execute(query))
    return numbers


def _chunks(numbers: Sequence[int]) -> Iterable[Sequence[int]]:
    return (numbers[at : at + _CHUNK] for at in range(0, len(numbers), _CHUNK))
