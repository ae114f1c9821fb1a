"""Rows of findings: the one that stands per meter and rule, and those that people look at."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlmodel import Session, col, func, select

from domain.errors import NotFound
from services.metering.meter import Kind
from services.metering.store.tables import FindingRow, MeterRow, RegisterLifeRow
from services.metering.waste.findings import STANDING, State

Key = tuple[str, str]
"""Uid of a meter and name of a rule."""


def get(session: Session, municipality_uid: str, uid: str, resource: str) -> FindingRow:
    """A finding. Raises NotFound."""
    row = session.get(FindingRow, uid)
    if row is None or row.municipality_uid != municipality_uid:
        raise NotFound(resource)
    return row


def save(session: Session, row: FindingRow) -> FindingRow:
    """Stores a finding, new or changed."""
    session.add(row)
    session.flush()
    return row


def listed(
    session: Session,
    municipality_uid: str,
    *,
    meter_uids: Sequence[str] | None,
    with_past: bool,
    after: tuple[datetime, str] | None,
    limit: int,
) -> list[FindingRow]:
    """Findings of a municipality, the newest first, those after a (raised_at, uid); of these meters or of all."""
    statement = select(FindingRow).where(col(FindingRow.municipality_uid) == municipality_uid)
    if meter_uids is not None:
        statement = statement.where(col(FindingRow.meter_uid).in_(list(meter_uids)))
    if not with_past:
        statement = statement.where(col(FindingRow.state).in_([int(state) for state in STANDING]))
    if after is not None:
        raised_at, uid = after
        earlier = col(FindingRow.raised_at) < raised_at
        same = (col(FindingRow.raised_at) == raised_at) & (col(FindingRow.uid) < uid)
        statement = statement.where(earlier | same)
    statement = statement.order_by(col(FindingRow.raised_at).desc(), col(FindingRow.uid).desc())
    return list(session.exec(statement.limit(limit)))


def meters_of(session: Session, rows: Sequence[FindingRow]) -> dict[str, MeterRow]:
    """The meters of findings by their uid, deleted ones too."""
    uids = sorted({row.meter_uid for row in rows})
    found: dict[str, MeterRow] = {}
    for start in range(0, len(uids), 500):
        statement = select(MeterRow).where(col(MeterRow.uid).in_(uids[start : start + 500]))
        found.update({row.uid: row for row in session.exec(statement)})
    return found


def standing(session: Session, meter_uid: str) -> dict[str, FindingRow]:
    """The findings of a meter that stand, by their rule."""
    statement = select(FindingRow).where(
        col(FindingRow.meter_uid) == meter_uid, col(FindingRow.state).in_([int(state) for state in STANDING])
    )
    return {row.rule: row for row in session.exec(statement)}


def last_closed(session: Session, meter_uid: str) -> dict[str, datetime]:
    """When a person last closed a finding of a meter, by its rule."""
    statement = (
        select(FindingRow.rule, func.max(FindingRow.closed_at))
        .where(col(FindingRow.meter_uid) == meter_uid, col(FindingRow.state) == int(State.CLOSED))
        .group_by(col(FindingRow.rule))
    )
    return {rule: closed for rule, closed in session.exec(statement) if closed is not None}


def counts(session: Session) -> dict[str, int]:
    """How many findings stand, by their rule."""
    statement = (
        select(FindingRow.rule, func.count())
        .where(col(FindingRow.state).in_([int(state) for state in STANDING]))
        .group_by(col(FindingRow.rule))
    )
    return {rule: int(count) for rule, count in session.exec(statement)}


def of_gone(session: Session, municipality_uid: str) -> list[FindingRow]:
    """Findings that stand at meters which are no more, or which were taken down: no reading can end them."""
    living = select(RegisterLifeRow.key).where(
        RegisterLifeRow.meter_uid == MeterRow.uid, col(RegisterLifeRow.removed_ms).is_(None)
    )
    statement = (
        select(FindingRow)
        .join(MeterRow, col(MeterRow.uid) == col(FindingRow.meter_uid))
        .where(
            col(FindingRow.municipality_uid) == municipality_uid,
            col(FindingRow.state).in_([int(state) for state in STANDING]),
            col(MeterRow.deleted_at).is_not(None) | (~living.exists() & (col(MeterRow.kind) != Kind.VIRTUAL)),
        )
    )
    return list(session.exec(statement))
