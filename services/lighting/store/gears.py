"""Drivers in luminaires, stored: which one is in, what its counter said last, and the ones before it.

Not here: whether one was swapped (swapped.py), reading them (gear_reading.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import Session, col, select

from domain.errors import FailedPrecondition, InvalidInput
from domain.names import new_uid
from servicekit import audit
from servicekit.columns import table_of
from servicekit.context import Tenant
from services.lighting import swapped
from services.lighting.store.commissioning_tables import ProtectionRow
from services.lighting.store.gear_tables import GearLifeRow
from services.lighting.store.tables import LuminaireRow
from services.lighting.swapped import HOUR_S, Gear, Reading, Suspicion, Verdict

_CHUNK: Final = 500
_WORTH_KEEPING_S: Final = 600
"""A counter that has gone on by less is not stored: it is read again."""
_SEEN_AFTER_MS: Final = 7 * swapped.DOUBT_MS
"""So long a recorded swap waits for a counter of its own; then the driver's goes on."""


class LifeState(IntEnum):
    """How it is known that a driver is in; numbers as in the contract, stored."""

    FIRST = 1
    DETECTED = 2
    CONFIRMED = 3
    REJECTED = 4
    RECORDED = 5


@dataclass(slots=True)
class Taken:
    """What a round of readings came to. suspicions: for the next round, by uid of the luminaire."""

    suspicions: dict[str, Suspicion] = field(default_factory=dict)
    swapped: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Undecided:
    """A luminaire with a swap that nobody has decided, since when (Unix ms)."""

    luminaire_uid: str
    municipality_uid: str
    since_ms: int


def lives_of(session: Session, luminaire_uids: Sequence[str]) -> dict[str, list[GearLifeRow]]:
    """Drivers of luminaires, the first one first."""
    found: dict[str, list[GearLifeRow]] = {}
    for first in range(0, len(luminaire_uids), _CHUNK):
        wanted = col(GearLifeRow.luminaire_uid).in_(luminaire_uids[first : first + _CHUNK])
        for row in session.exec(select(GearLifeRow).where(wanted).order_by(col(GearLifeRow.number))):
            found.setdefault(row.luminaire_uid, []).append(row)
    return found


def current(lives: Sequence[GearLifeRow]) -> GearLifeRow | None:
    """The driver that is in."""
    return next((row for row in reversed(lives) if row.state != LifeState.REJECTED), None)


def burnt_s(row: GearLifeRow) -> int | None:
    """How long a driver has burnt in its luminaire, in seconds."""
    return swapped.burnt_s(row.first_s, row.last_s, row.carried_s)


def undecided_swaps(session: Session) -> list[Undecided]:
    """Swaps that readings showed and nobody has decided, in all municipalities."""
    life, lamp = table_of(GearLifeRow).c, table_of(LuminaireRow).c
    rows = session.connection().execute(
        sa.select(life.luminaire_uid, life.municipality_uid, life.installed_ms)
        .join(table_of(LuminaireRow), lamp.uid == life.luminaire_uid)
        .where(life.state == int(LifeState.DETECTED))
        .where(lamp.deleted_at_ms == 0)
        .order_by(life.luminaire_uid)
    )
    return [Undecided(*row) for row in rows]


# --- what readings say ----------------------------------------------------------------------------------------------


def take(
    session: Session,
    readings: Mapping[str, Reading],
    suspicions: Mapping[str, Suspicion],
    *,
    rollover_s: int,
    in_control: bool,
    now_ms: int,
) -> Taken:
    """Takes what the drivers of a gateway said: hours go on, and a swap begins new ones and asks for the settings.

    in_control: the gateway may be written without a person asking for it.
    """
    uids = sorted(readings)
    lives = lives_of(session, uids)
    protections = _rows_of(session, ProtectionRow, uids)
    lamps = _rows_of(session, LuminaireRow, uids)
    rows = {uid: current(lives.get(uid, [])) for uid in uids if uid in lamps and lamps[uid].deleted_at_ms == 0}
    gears = {uid: _gear(row, protections.get(uid)) for uid, row in rows.items()}
    many = swapped.are_many(swapped.suspects(gears, readings, rollover_s), len(readings))
    taken = Taken()
    for uid, row in rows.items():
        gear, reading = gears[uid], readings[uid]
        if row is not None and row.state == LifeState.RECORDED and not row.last_ms:
            is_in = _first_of_recorded(row, lives[uid], reading, rollover_s)
            session.add(row)
            if is_in and (protection := protections.get(uid)) is not None:
                ask_again(session, protection, now_ms, write=in_control)  # until now the old one may have been in
            continue
        verdict = swapped.judge(gear, reading, suspicions.get(uid), many=many, rollover_s=rollover_s)
        if verdict.suspicion is not None:
            taken.suspicions[uid] = verdict.suspicion
        elif not verdict.signs:
            _keep(session, row, verdict.gear, lamps[uid])
        elif row is not None and row.state == LifeState.DETECTED:
            # One that nobody has decided is enough: the sum goes on, and a person looks at it anyway.
            _keep(session, row, swapped.began_anew(gear, reading), lamps[uid])
        else:
            words = swapped.evidence(gear, reading, verdict.signs)
            made = _begin(session, lamps[uid], row, verdict, words)
            if (protection := protections.get(uid)) is not None:
                ask_again(session, protection, now_ms, write=in_control)
            audit.record(
                session, "lighting.luminaires.detectSwap", f"luminaires/{lamps[uid].id}", uid,
                lamps[uid].municipality_uid, after=made, reason=words,
            )  # fmt: skip
            taken.swapped.append(uid)
    session.flush()
    return taken


def ask_again(session: Session, protection: ProtectionRow, now_ms: int, *, write: bool) -> None:
    """The settings of a new driver are not known. What was read back before is asked for again, where `write`; where
    not, it is shown as not protected."""
    if write and protection.confirmed:
        _ask(session, protection, now_ms)
    protection.confirmed = False
    session.add(protection)


def _asked_by_person(session: Session, luminaire_uid: str, now_ms: int, *, unless_confirmed: bool) -> None:
    """Who says that a driver was swapped asks for its settings, whatever was read back before."""
    protection = session.get(ProtectionRow, luminaire_uid, with_for_update=True)
    if protection is not None and not (unless_confirmed and protection.confirmed):
        _ask(session, protection, now_ms)


def _ask(session: Session, protection: ProtectionRow, now_ms: int) -> None:
    protection.asked_ms, protection.seen_for_ms, protection.confirmed = now_ms, 0, False
    session.add(protection)


def _gear(row: GearLifeRow | None, protection: ProtectionRow | None) -> Gear:
    wanted = None
    if protection is not None and protection.confirmed:
        wanted = (protection.power_on_permille, protection.communication_loss_permille)
    if row is None:
        return Gear(protected=wanted)
    return Gear(row.last_s, row.last_ms, row.carried_s, row.identity, wanted)


def _keep(session: Session, row: GearLifeRow | None, gear: Gear, lamp: LuminaireRow) -> None:
    """Stores how a driver goes on; the first one of a luminaire when it says something."""
    if row is None:
        if gear.hours_s is None and not gear.identity:
            return
        row = _new_row(lamp, 1, LifeState.FIRST)
        # It came with the luminaire, as far as anybody knows: all it has counted, it burnt there.
        row.first_s = None if gear.hours_s is None else 0
    elif (row.identity, row.carried_s) == (gear.identity, gear.carried_s) and _is_near(row.last_s, gear.hours_s):
        return
    if row.first_s is None and row.last_s is None and gear.hours_s is not None:
        row.first_s = 0 if row.state == LifeState.FIRST else gear.hours_s
    row.last_s, row.last_ms, row.carried_s, row.identity = gear.hours_s, gear.hours_ms, gear.carried_s, gear.identity
    session.add(row)


def _is_near(stored_s: int | None, hours_s: int | None) -> bool:
    if stored_s is None or hours_s is None:
        return stored_s is hours_s
    return 0 <= hours_s - stored_s < _WORTH_KEEPING_S


def _begin(
    session: Session, lamp: LuminaireRow, before: GearLifeRow | None, verdict: Verdict, words: str
) -> GearLifeRow:
    """A new driver is in."""
    gear = verdict.gear
    if before is None:
        before = _new_row(lamp, 1, LifeState.FIRST)
        session.add(before)
    number = _last_number(session, lamp.uid, before.number)
    row = _new_row(lamp, number + 1, LifeState.DETECTED)
    row.installed_ms, row.signs, row.evidence = verdict.since_ms, int(verdict.signs), words
    row.first_s, row.last_s = verdict.first_s, gear.hours_s
    row.last_ms, row.identity = gear.hours_ms, gear.identity
    session.add(row)
    session.flush()
    return row


def _first_of_recorded(row: GearLifeRow, lives: Sequence[GearLifeRow], reading: Reading, rollover_s: int) -> bool:
    """The first reading after a swap that a person recorded. While the counter goes on as the old one did, the driver
    is not in yet, as far as anybody can see. True where it is."""
    if reading.hours_s is None:
        row.identity = reading.identity or row.identity
        return False
    before = next((life for life in reversed(lives) if life is not row and life.state != LifeState.REJECTED), None)
    if before is not None and before.last_s is not None and not _shows(before, reading, rollover_s):
        if reading.at_ms - row.installed_ms < _SEEN_AFTER_MS:
            return False
        row.first_s = before.last_s
    most_s = max(0, reading.at_ms - row.installed_ms) // 1000 + HOUR_S
    if row.first_s is None or not 0 <= reading.hours_s - row.first_s <= most_s:
        row.first_s = reading.hours_s
    row.last_s, row.last_ms, row.identity = reading.hours_s, reading.at_ms, reading.identity or ""
    return True


def _shows(before: GearLifeRow, reading: Reading, rollover_s: int) -> bool:
    """Whether a reading is another driver's."""
    return bool(swapped.signs_of(_gear(before, None), reading, rollover_s))


# --- what people say ------------------------------------------------------------------------------------------------


def record_swap(
    session: Session,
    lamp: LuminaireRow,
    *,
    installed_ms: int,
    serial: str,
    first_s: int | None,
    reason: str,
    author: str,
    now_ms: int,
) -> GearLifeRow:
    """A person says that a driver was swapped: what readings showed and nobody has decided is that swap.

    Raises InvalidInput where it was before the last one.
    """
    lives = lives_of(session, [lamp.uid]).get(lamp.uid, [])
    row = current(lives)
    if row is not None and row.state == LifeState.DETECTED:
        row.state = int(LifeState.CONFIRMED)
        row.serial = serial or row.serial
        row.first_s = row.first_s if first_s is None or row.last_s is None else min(first_s, row.last_s)
        row.reason, row.author, row.decided_ms = reason, author, now_ms
        session.add(row)
        _asked_by_person(session, lamp.uid, now_ms, unless_confirmed=True)
        session.flush()
        return row
    if row is None:
        row = _new_row(lamp, 1, LifeState.FIRST)
        session.add(row)
    if installed_ms < row.installed_ms:
        raise InvalidInput.of("installed_at", "lies before the driver that is in came")
    made = _new_row(lamp, _last_number(session, lamp.uid, row.number) + 1, LifeState.RECORDED)
    made.installed_ms, made.serial, made.first_s = installed_ms, serial, first_s
    made.reason, made.author, made.decided_ms = reason, author, now_ms
    session.add(made)
    _asked_by_person(session, lamp.uid, now_ms, unless_confirmed=False)
    session.flush()
    return made


def decide(
    session: Session, lamp: LuminaireRow, *, really: bool, serial: str, reason: str, author: str, now_ms: int
) -> GearLifeRow:
    """A person says whether a driver was really swapped. Raises FailedPrecondition where there is nothing to decide."""
    lives = lives_of(session, [lamp.uid]).get(lamp.uid, [])
    row = current(lives)
    if row is None or row.state != LifeState.DETECTED:
        raise FailedPrecondition.of("name", f"no swap of the driver of {lamp.id} waits for a decision")
    row.state = int(LifeState.CONFIRMED if really else LifeState.REJECTED)
    row.serial = serial or row.serial
    row.reason, row.author, row.decided_ms = reason, author, now_ms
    session.add(row)
    before = current(lives)
    if really:
        _asked_by_person(session, lamp.uid, now_ms, unless_confirmed=True)
    elif before is not None:
        _give_back(before, row)
        session.add(before)
    session.flush()
    return row


def _give_back(before: GearLifeRow, rejected: GearLifeRow) -> None:
    """The hours of a driver that was none count for the one before, whose counter began anew."""
    before.identity = rejected.identity or before.identity
    if rejected.last_s is None or rejected.first_s is None:
        return
    if before.last_s is None or before.first_s is None:
        before.first_s = rejected.first_s
        before.carried_s = rejected.carried_s
    else:
        before.carried_s += before.last_s - rejected.first_s + rejected.carried_s
    before.last_s, before.last_ms = rejected.last_s, rejected.last_ms


def list_gears(
    session: Session,
    tenants: Sequence[Tenant],
    after: Sequence[str | int | None] | None,
    limit: int,
    *,
    luminaire_uid: str | None,
    swapped_only: bool,
    undecided_only: bool,
    where: Callable[[Tenant], Sequence[Any]],
) -> list[tuple[Tenant, LuminaireRow, list[GearLifeRow]]]:
    """Luminaires of which a driver is known, by name. where: further conditions, per municipality."""
    found: list[tuple[Tenant, LuminaireRow]] = []
    for tenant in sorted(tenants, key=lambda t: t.id):
        if len(found) >= limit:
            break
        if after is not None and tenant.id < str(after[0]):
            continue
        has = select(GearLifeRow.luminaire_uid).where(GearLifeRow.municipality_uid == tenant.uid)
        if swapped_only:
            has = has.where(col(GearLifeRow.number) > 1)
        if undecided_only:
            has = has.where(GearLifeRow.state == int(LifeState.DETECTED))
        query = (
            select(LuminaireRow)
            .where(LuminaireRow.municipality_uid == tenant.uid)
            .where(LuminaireRow.deleted_at_ms == 0)
            .where(col(LuminaireRow.uid).in_(has))
            .where(*where(tenant))
        )
        if luminaire_uid is not None:
            query = query.where(LuminaireRow.uid == luminaire_uid)
        if after is not None and tenant.id == after[0]:
            query = query.where(col(LuminaireRow.id) > str(after[1]))
        rows = session.exec(query.order_by(col(LuminaireRow.id)).limit(limit - len(found)))
        found += [(tenant, lamp) for lamp in rows]
    lives = lives_of(session, [lamp.uid for _, lamp in found])
    return [(tenant, lamp, lives.get(lamp.uid, [])) for tenant, lamp in found]


# --- rows -----------------------------------------------------------------------------------------------------------


def _new_row(lamp: LuminaireRow, number: int, state: LifeState) -> GearLifeRow:
    return GearLifeRow(
        uid=new_uid(), municipality_uid=lamp.municipality_uid, luminaire_uid=lamp.uid, number=number, state=int(state)
    )


def _last_number(session: Session, luminaire_uid: str, least: int) -> int:
    query = select(sa.func.max(GearLifeRow.number)).where(GearLifeRow.luminaire_uid == luminaire_uid)
    return max(least, session.exec(query).one() or 0)


def _rows_of(session: Session, table: type[Any], uids: Sequence[str]) -> dict[str, Any]:
    column = table.luminaire_uid if table is ProtectionRow else table.uid
    found: dict[str, Any] = {}
    for first in range(0, len(uids), _CHUNK):
        chunk = select(table).where(column.in_(list(uids[first : first + _CHUNK])))
        found.update({row.luminaire_uid if table is ProtectionRow else row.uid: row for row in session.exec(chunk)})
    return found
