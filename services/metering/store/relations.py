"""How meters hang together: registers in one housing, main and sub-meters, the terms of a virtual meter.

Rows know the other meter by its uid. A register's row repeats the endpoint and the transformer ratio of its housing, so
that whoever reads one row knows how it is read; the serial number stands at the housing only, where it is unique.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlmodel import Session, col, select

from domain.errors import FailedPrecondition, InvalidInput, Violation
from services.metering.meter import SYMBOL, Kind, Unit
from services.metering.meter_rules import check_point
from services.metering.store.tables import MeterRow

Terms = list[tuple[str, int]]
MOST_PARTS: Final = 1_000
"""Of a sum, those of sums in it among them."""
_PART = 500
_SHARED = ("endpoint_uid", "endpoint_id", "transformer_ratio")


@dataclass(frozen=True, slots=True)
class Related:
    """The meters that a meter names: its housing, its main meter, and by uid what it is the sum of."""

    device: MeterRow | None = None
    main_meter: MeterRow | None = None
    terms: dict[str, MeterRow] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dependents:
    """The living meters that name a meter."""

    registers: list[MeterRow]
    sub_meters: list[MeterRow]
    sums: list[MeterRow]


def terms_of(row: MeterRow) -> Terms:
    """Uid and sign (1 or -1) of what a virtual meter is the sum of."""
    return [(str(uid), int(sign)) for uid, sign in json.loads(row.terms)]


def rows_by_uid(session: Session, uids: Iterable[str]) -> dict[str, MeterRow]:
    """Rows of meters by their uid, deleted ones too."""
    wanted = list(dict.fromkeys(uid for uid in uids if uid))
    found: dict[str, MeterRow] = {}
    for start in range(0, len(wanted), _PART):
        statement = select(MeterRow).where(col(MeterRow.uid).in_(wanted[start : start + _PART]))
        found.update({row.uid: row for row in session.exec(statement)})
    return found


def registers_of(session: Session, device_uid: str) -> list[MeterRow]:
    """The further registers in a meter's housing, by name."""
    return _living(session, col(MeterRow.device_uid) == device_uid)


def sub_meters_of(session: Session, uid: str) -> list[MeterRow]:
    """The meters right behind a main meter, by name."""
    return _living(session, col(MeterRow.main_meter_uid) == uid)


def dependents_of(session: Session, row: MeterRow) -> Dependents:
    """The living meters that name this one."""
    virtual = _living(
        session,
        (col(MeterRow.municipality_uid) == row.municipality_uid) & (col(MeterRow.kind) == int(Kind.VIRTUAL)),
    )
    sums = [one for one in virtual if any(uid == row.uid for uid, _ in terms_of(one))]
    return Dependents(registers_of(session, row.uid), sub_meters_of(session, row.uid), sums)


def _living(session: Session, condition: object) -> list[MeterRow]:
    statement = select(MeterRow).where(condition, col(MeterRow.deleted_at).is_(None))  # type: ignore[arg-type]
    return list(session.exec(statement.order_by(col(MeterRow.meter_id))))


def check_unused(session: Session, row: MeterRow) -> None:
    """Raises FailedPrecondition that names the meters that name this one."""
    found = dependents_of(session, row)
    wrong = [
        Violation("name", f"{what} {_names(rows)}")
        for what, rows in (
            ("in its housing sits", found.registers),
            ("it is the main meter of", found.sub_meters),
            ("it is a part of the sum", found.sums),
        )
        if rows
    ]
    if wrong:
        raise FailedPrecondition(violations=wrong)


def check_relations(session: Session, row: MeterRow, related: Related) -> None:
    """Raises InvalidInput for a meter, as it is to be, that does not go with those it names or is named by."""
    wrong = _check_device(session, row, related.device)
    wrong += _check_main(session, row, related.main_meter)
    wrong += _check_terms(session, row, related.terms)
    found = dependents_of(session, row)
    wrong += [
        Violation("meter.unit", f"{sub.meter_id} measures behind it in another medium or unit")
        for sub in found.sub_meters
        if (sub.medium, sub.unit) != (row.medium, row.unit) or row.kind == Kind.INSTANT
    ]
    wrong += [
        Violation("meter.unit", f"it is a part of the sum {one.meter_id}, which is in another unit")
        for one in found.sums
        if one.unit != row.unit or row.kind == Kind.INSTANT
    ]
    if wrong:
        raise InvalidInput(violations=wrong)


def share_housing(row: MeterRow, device: MeterRow) -> None:
    """Gives a register what its housing has."""
    for name in _SHARED:
        setattr(row, name, getattr(device, name))


def pass_on(session: Session, device: MeterRow) -> list[MeterRow]:
    """Gives the registers in a housing what has changed about it. Returns those that became others."""
    changed = []
    for row in registers_of(session, device.uid):
        if any(getattr(row, name) != getattr(device, name) for name in _SHARED):
            share_housing(row, device)
            row.revision += 1
            session.add(row)
            changed.append(row)
    session.flush()
    return changed


def _check_device(session: Session, row: MeterRow, device: MeterRow | None) -> list[Violation]:
    registers = registers_of(session, row.uid)
    wrong: list[Violation] = []
    if device is None:
        housing = [row, *registers]
    elif device.uid == row.uid:
        return [Violation("meter.device", "a register does not sit in its own housing: leave it empty")]
    elif device.device_uid:
        other = rows_by_uid(session, [device.device_uid])[device.device_uid]
        return [Violation("meter.device", f"{device.meter_id} is a register in the housing of {other.meter_id} itself")]
    elif device.kind == Kind.VIRTUAL:
        return [Violation("meter.device", f"{device.meter_id} is virtual and has no housing")]
    elif registers:
        return [Violation("meter.device", f"in its own housing sits {_names(registers)}")]
    else:
        housing = [row, device, *(one for one in registers_of(session, device.uid) if one.uid != row.uid)]
    wrong += [
        Violation("meter.transformer_ratio", f"the rollover of register {one.meter_id} is no multiple of it")
        for one in registers
        if one.rollover % row.transformer_ratio
    ]
    if not row.endpoint_uid:
        return wrong
    for one in registers:
        for violation in check_point(one.point, Unit(one.unit), Kind(one.kind)):
            wrong.append(Violation("meter.endpoint", f"register {one.meter_id}: {violation.reason}"))
    for other in housing[1:]:
        if other.point == row.point:
            wrong.append(Violation("meter.point", f"{other.meter_id} in the same housing reads {row.point} already"))
    return wrong


def _check_main(session: Session, row: MeterRow, main: MeterRow | None) -> list[Violation]:
    if main is None:
        return []
    wrong = []
    if (main.medium, main.unit) != (row.medium, row.unit):
        wrong.append(Violation("meter.main_meter", f"{main.meter_id} measures another medium, or in another unit"))
    if Kind.INSTANT in (row.kind, main.kind):
        wrong.append(Violation("meter.main_meter", "a sensor counts nothing that sub-meters could share"))
    above: MeterRow | None = main
    seen: list[MeterRow] = []
    while above is not None and above.uid not in {one.uid for one in seen}:
        seen.append(above)
        above = rows_by_uid(session, [above.main_meter_uid]).get(above.main_meter_uid)
    if row.uid in {one.uid for one in seen}:
        wrong.append(Violation("meter.main_meter", f"it would measure behind itself: {_names(seen)}"))
    return wrong


def _check_terms(session: Session, row: MeterRow, terms: dict[str, MeterRow]) -> list[Violation]:
    wrong = []
    for number, term in enumerate(terms.values()):
        where = f"meter.terms[{number}].meter"
        if term.unit != row.unit:
            units = f"{SYMBOL[Unit(term.unit)]}, the sum in {SYMBOL[Unit(row.unit)]}"
            wrong.append(Violation(where, f"{term.meter_id} is in {units}"))
        if term.kind == Kind.INSTANT:
            wrong.append(Violation(where, f"{term.meter_id} is a sensor: its values add up to nothing"))
    open_, seen = list(terms.values()), set()
    while open_:
        one = open_.pop()
        if one.uid == row.uid:
            wrong.append(Violation("meter.terms", "it would be a part of itself"))
            break
        if one.uid not in seen:
            seen.add(one.uid)
            open_ += rows_by_uid(session, [uid for uid, _ in terms_of(one)]).values()
    if terms and not wrong:
        check_size(session, row)
    return wrong


def check_size(session: Session, row: MeterRow) -> None:
    """Raises FailedPrecondition for a sum whose parts, those of sums among them counted as often as they occur, are too
    many to be worked out: sums of two sums of two sums double with every level."""
    counted, open_ = 0, Counter({row.uid: 1})
    while open_:
        rows = rows_by_uid(session, list(open_)) | {row.uid: row}
        following: Counter[str] = Counter()
        for uid, times in open_.items():
            for part, _ in terms_of(rows[uid]):
                following[part] += times
        counted += following.total()
        if counted > MOST_PARTS:
            raise FailedPrecondition.of("meters", f"{row.meter_id} is a sum of more than {MOST_PARTS} parts")
        open_ = following


def _names(rows: Sequence[MeterRow]) -> str:
    shown = ", ".join(row.meter_id for row in rows[:10])
    return shown if len(rows) <= 10 else f"{shown} and {len(rows) - 10} more"
