"""Rows of meters: creating, finding, changing, deleting. Among the living, names and serial numbers are unique."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, or_
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from domain.errors import AlreadyExists, FailedPrecondition, NotFound
from services.metering.life import RegisterLife
from services.metering.store import lock
from services.metering.store.lives import first_life, heads_of, lives_of
from services.metering.store.relations import rows_by_uid, terms_of
from services.metering.store.tables import MeterRow, RegisterHeadRow


@dataclass(frozen=True, slots=True)
class StoredMeter:
    """A meter with its lives, oldest first, the newest of its registers by their key, and the ids of the meters that it
    names by their uid. serial_number: its own, or that of the housing it sits in."""

    row: MeterRow
    lives: list[RegisterLife]
    heads: dict[int, RegisterHeadRow]
    named: dict[str, str] = field(default_factory=dict)
    serial_number: str = ""

    @property
    def latest(self) -> RegisterHeadRow | None:
        """The newest reading, of the newest life that has one."""
        for life in reversed(self.lives):
            head = self.heads.get(life.key)
            if head is not None and head.latest_slot_ms:
                return head
        return None

    @property
    def living(self) -> RegisterLife | None:
        """The register that counts now."""
        return next((life for life in self.lives if life.removed_ms is None), None)


def _alive() -> ColumnElement[bool]:
    return col(MeterRow.deleted_at).is_(None)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which meters are listed; an empty value leaves nothing out. main_meter_uid: its registers and sub-meters.
    identity: serial number, MaLo or MeLo."""

    cabinet_id: str = ""
    medium: int = 0
    building: str = ""
    main_meter_uid: str = ""
    identity: str = ""


def create(session: Session, row: MeterRow, resource: str) -> StoredMeter:
    """Adds a meter with its first life. Raises AlreadyExists for the name, FailedPrecondition for the serial number."""
    check_is_new(session, row.municipality_uid, row.meter_id, resource)
    check_serial_number(session, row.municipality_uid, row.serial_number, row.uid)
    session.add(row)
    try:
        session.flush()
    except IntegrityError as error:  # somebody else was faster
        raise AlreadyExists(resource) from error
    device = rows_by_uid(session, [row.device_uid]).get(row.device_uid, row)
    session.add(first_life(row, device.serial_number))
    session.flush()
    return whole(session, [row])[0]


def check_is_new(session: Session, municipality_uid: str, meter_id: str, resource: str) -> None:
    """Raises AlreadyExists for an id that a meter has. Before anything else is said: a meter is in its own way."""
    if find_row(session, municipality_uid, meter_id) is not None:
        raise AlreadyExists(resource)


def check_serial_number(session: Session, municipality_uid: str, serial_number: str, own_uid: str) -> None:
    """Raises FailedPrecondition if another living meter of the municipality claims the serial number, in any case.

    Who states the same one at the same time waits until this transaction is over.
    """
    if not serial_number:
        return
    lock.to_give_serial_numbers(session)
    statement = select(MeterRow).where(
        col(MeterRow.municipality_uid) == municipality_uid,
        is_serial_number(serial_number),
        col(MeterRow.uid) != own_uid,
        _alive(),
    )
    other = session.exec(statement).first()
    if other is not None:
        raise FailedPrecondition.of(
            "meter.serial_number", f"{serial_number!r} is the serial number of meter {other.meter_id}: one is wrong"
        )


def is_serial_number(text: str) -> ColumnElement[bool]:
    """The meters of a serial number, which people write in capitals or not."""
    # The database on both sides: which letters it knows beyond A to Z is its affair.
    return and_(col(MeterRow.serial_number) != "", func.lower(col(MeterRow.serial_number)) == func.lower(text))


def find_row(session: Session, municipality_uid: str, meter_id: str) -> MeterRow | None:
    """The row of a living meter."""
    statement = select(MeterRow).where(
        col(MeterRow.municipality_uid) == municipality_uid, col(MeterRow.meter_id) == meter_id, _alive()
    )
    return session.exec(statement).first()


def get_row(session: Session, municipality_uid: str, meter_id: str, resource: str) -> MeterRow:
    """The row of a living meter. Raises NotFound."""
    row = find_row(session, municipality_uid, meter_id)
    if row is None:
        raise NotFound(resource)
    return row


def rows_by_id(session: Session, municipality_uid: str, meter_ids: Sequence[str]) -> dict[str, MeterRow]:
    """Rows of living meters by their id; what does not exist is left out."""
    found: dict[str, MeterRow] = {}
    for start in range(0, len(meter_ids), 500):
        statement = select(MeterRow).where(
            col(MeterRow.municipality_uid) == municipality_uid,
            col(MeterRow.meter_id).in_(meter_ids[start : start + 500]),
            _alive(),
        )
        found.update({row.meter_id: row for row in session.exec(statement)})
    return found


def list_rows(
    session: Session, municipality_uid: str, after_id: str, limit: int, wanted: Wanted = Wanted()
) -> list[MeterRow]:
    """Living meters in the order of their ids, those after `after_id`."""
    statement = select(MeterRow).where(
        col(MeterRow.municipality_uid) == municipality_uid, col(MeterRow.meter_id) > after_id, _alive()
    )
    if wanted.cabinet_id:
        statement = statement.where(col(MeterRow.cabinet_id) == wanted.cabinet_id)
    if wanted.medium:
        statement = statement.where(col(MeterRow.medium) == wanted.medium)
    if wanted.building:
        statement = statement.where(col(MeterRow.building) == wanted.building)
    if wanted.main_meter_uid:
        uid = wanted.main_meter_uid
        statement = statement.where(or_(col(MeterRow.device_uid) == uid, col(MeterRow.main_meter_uid) == uid))
    if wanted.identity:
        plain = "".join(wanted.identity.split())
        statement = statement.where(
            or_(
                is_serial_number(wanted.identity.strip()),
                col(MeterRow.market_location) == plain,
                col(MeterRow.metering_location) == plain.upper(),
            )
        )
    return list(session.exec(statement.order_by(col(MeterRow.meter_id)).limit(limit)))


def all_rows(session: Session, municipality_uids: Sequence[str] | None = None) -> list[MeterRow]:
    """Living meters, of the given municipalities or of all."""
    statement = select(MeterRow).where(_alive())
    if municipality_uids is not None:
        statement = statement.where(col(MeterRow.municipality_uid).in_(list(municipality_uids)))
    return list(session.exec(statement.order_by(col(MeterRow.municipality_uid), col(MeterRow.meter_id))))


def whole(session: Session, rows: Sequence[MeterRow]) -> list[StoredMeter]:
    """Meters with their lives and heads, and what the meters that they name are called."""
    lives = lives_of(session, [row.uid for row in rows])
    heads = heads_of(session, [life.key for found in lives.values() for life in found])
    names = {row.uid: [row.device_uid, row.main_meter_uid, *(uid for uid, _ in terms_of(row))] for row in rows}
    others = rows_by_uid(session, [uid for uids in names.values() for uid in uids])
    return [
        StoredMeter(
            row,
            lives[row.uid],
            {life.key: heads[life.key] for life in lives[row.uid] if life.key in heads},
            {uid: others[uid].meter_id for uid in names[row.uid] if uid in others},
            others.get(row.device_uid, row).serial_number,
        )
        for row in rows
    ]


def delete(session: Session, row: MeterRow, at: datetime) -> None:
    """Takes a meter's name away. Its lives and readings stay."""
    row.deleted_at = at
    row.revision += 1
    session.add(row)
    session.flush()
