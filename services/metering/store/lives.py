"""Register lives in the database. What an exchange makes of them and of their readings: exchanges.py."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any, Final

from sqlalchemy import text
from sqlmodel import Session, col, select

from domain.names import new_uid
from services.metering.life import Origin, RegisterLife
from services.metering.meter import Kind, Medium, Unit
from services.metering.scale import in_scale
from services.metering.store.bulk import text_set
from services.metering.store.readings import fetch, nearest_usable
from services.metering.store.tables import MeterRow, RegisterHeadRow, RegisterLifeRow
from services.metering.validation.parameters import Parameters
from services.metering.vee import Point, RegisterRules, RegisterState

_FIELDS: Final = tuple(field.name for field in fields(RegisterLife))
_COLUMNS: Final = ", ".join(_FIELDS)
_METER_UID, _ORIGIN, _ENDED_BY = map(_FIELDS.index, ("meter_uid", "origin", "ended_by"))


def life_of(row: RegisterLifeRow) -> RegisterLife:
    """The life in a row. Raises AssertionError for one that is not stored yet."""
    if row.key is None:
        raise AssertionError("the database numbers lives")
    return _life([getattr(row, name) for name in _FIELDS])


def _life(values: Sequence[Any]) -> RegisterLife:
    """The life whose columns these are, in the order of its fields."""
    life = list(values)
    life[_ORIGIN] = Origin(life[_ORIGIN])
    life[_ENDED_BY] = Origin(life[_ENDED_BY]) if life[_ENDED_BY] else None
    return RegisterLife(*life)


def first_life(meter: MeterRow, serial_number: str) -> RegisterLifeRow:
    """The life that a new meter begins with: since when its register hangs there, nobody has said."""
    return RegisterLifeRow(
        uid=new_uid(),
        meter_uid=meter.uid,
        serial_number=serial_number,
        first_reading=0,
        final_reading=0,
        origin=Origin.CREATED.value,
        ended_by="",
        rollover=meter.rollover,
        transformer_ratio=meter.transformer_ratio,
        unit=meter.unit,
        scale_exponent=meter.scale_exponent,
        obis_code=meter.obis_code,
    )


def lives_of(session: Session, meter_uids: Iterable[str]) -> dict[str, list[RegisterLife]]:
    """Lives of meters, oldest first, by the uid of the meter."""
    uids = list(meter_uids)
    lives: dict[str, list[RegisterLife]] = {uid: [] for uid in uids}
    session.flush()
    # Plain tuples: answers are asked of many meters at once, and wrapping a row takes longer than fetching it.
    statement = text(f"SELECT {_COLUMNS} FROM register_life WHERE meter_uid IN {text_set(session, 'uids')}")
    for row in session.connection().execute(statement, {"uids": json.dumps(uids)}).all():
        lives[row[_METER_UID]].append(_life(row))
    for found in lives.values():
        found.sort(key=lambda life: (life.begin_ms, life.key))
    return lives


def keys_of_uids(session: Session, uids: Iterable[str]) -> dict[str, int]:
    """Keys of lives by their uid; what does not exist is left out."""
    wanted = list(uids)
    keys: dict[str, int] = {}
    for start in range(0, len(wanted), 500):
        statement = select(RegisterLifeRow.uid, RegisterLifeRow.key).where(
            col(RegisterLifeRow.uid).in_(wanted[start : start + 500])
        )
        keys.update({uid: key for uid, key in session.exec(statement) if key is not None})
    return keys


def heads_of(session: Session, keys: Sequence[int]) -> dict[int, RegisterHeadRow]:
    """The newest of each register; registers without any reading are left out."""
    heads: dict[int, RegisterHeadRow] = {}
    for start in range(0, len(keys), 500):
        statement = select(RegisterHeadRow).where(col(RegisterHeadRow.life_key).in_(keys[start : start + 500]))
        heads.update({row.life_key: row for row in session.exec(statement)})
    return heads


def rules_of(meter: MeterRow, life: RegisterLife, parameters: Parameters) -> RegisterRules:
    """What is known of a register, in its own numbers, and the numbers of its medium by which it is judged. A load in W
    says nothing about litres, nor a flow about Wh."""
    medium = Medium(meter.medium).name.lower()
    back, spike, fall = (parameters.of(rule, medium) for rule in ("small_step_back", "spike", "negative_step"))
    load = meter.connected_load_w if life.unit == Unit.WH else 0
    if life.unit == meter.unit != Unit.WH:
        load = meter.max_flow_per_h
    return RegisterRules(
        rollover=life.rollover,
        connected_load_w=in_scale(load, life.scale_exponent),
        transformer_ratio=life.transformer_ratio,
        one_count=in_scale(back["largest"], life.scale_exponent),
        assumed_load=in_scale(fall["restart_per_h"], life.scale_exponent),
        is_counter=meter.kind == Kind.COUNTER,
        saving_s=back["saving_s"],
        margin_permille=spike["margin_permille"],
        lateness_ms=spike["lateness_s"] * 1000,
        rollover_permille=fall["rollover_permille"],
        doubts_spikes=bool(spike["enabled"]),
    )


def state_before(session: Session, life: RegisterLife, at_ms: int) -> RegisterState:
    """What a reading at an instant is judged against: the last two usable readings before it, or its first one."""
    good = _good_before(session, life, at_ms)
    if good is None:
        return RegisterState()
    before = _good_before(session, life, good.slot_ms)
    if before is not None and before.value > good.value:
        # The spike that the last one has proved: that one goes on from what was before it.
        before = _good_before(session, life, before.slot_ms)
    return RegisterState(good, before=before)


def _good_before(session: Session, life: RegisterLife, at_ms: int) -> Point | None:
    slot = nearest_usable(session, life, at_ms, before=True)
    if slot is not None:
        found = fetch(session, [life.key], slot, slot + 1)
        if len(found):
            return Point(slot, int(found.value[0]))
    if life.is_first_known and life.begin_ms < at_ms:
        return Point(life.begin_ms, life.first_reading)
    return None


def row_of(life: RegisterLife) -> RegisterLifeRow:
    """The row of a life that is not stored yet."""
    return RegisterLifeRow(
        uid=life.uid,
        meter_uid=life.meter_uid,
        serial_number=life.serial_number,
        installed_ms=life.installed_ms,
        removed_ms=life.removed_ms,
        first_reading=life.first_reading,
        final_reading=life.final_reading,
        origin=life.origin.value,
        ended_by=life.ended_by.value if life.ended_by else "",
        rollover=life.rollover,
        transformer_ratio=life.transformer_ratio,
        unit=life.unit,
        scale_exponent=life.scale_exponent,
        obis_code=life.obis_code,
    )


def end_life(session: Session, life: RegisterLife, at_ms: int, final_reading: int, ended_by: Origin) -> None:
    """Ends a life without another one to follow."""
    row = session.exec(select(RegisterLifeRow).where(RegisterLifeRow.key == life.key)).one()
    row.removed_ms = max(at_ms, life.begin_ms)
    row.final_reading, row.ended_by = final_reading, ended_by.value
    session.add(row)
    session.flush()


def change_living(session: Session, meter: MeterRow, serial_number: str) -> None:
    """Gives the register that counts now what was corrected about its meter, or about the housing that it sits in."""
    statement = select(RegisterLifeRow).where(
        RegisterLifeRow.meter_uid == meter.uid, col(RegisterLifeRow.removed_ms).is_(None)
    )
    for row in session.exec(statement):
        row.serial_number = serial_number
        row.rollover, row.transformer_ratio = meter.rollover, meter.transformer_ratio
        row.unit, row.scale_exponent, row.obis_code = meter.unit, meter.scale_exponent, meter.obis_code
        session.add(row)
    session.flush()
