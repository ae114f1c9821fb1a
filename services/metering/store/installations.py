"""When a meter was hung up, and what it showed then: the begin of its first life, recorded late or put right.

What the life counts from then on is known; nothing moves, since it was this register all the time. Roll-ups and
evidence follow the life that they rest on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from sqlmodel import Session, select

from domain.errors import FailedPrecondition, InvalidInput
from services.metering.life import Installation, RegisterLife, installation_of, installed
from services.metering.meter import Kind
from services.metering.slot import slot_text
from services.metering.store import edits, feed, rollups
from services.metering.store.lives import lives_of, rules_of
from services.metering.store.readings import first_read
from services.metering.store.relations import registers_of
from services.metering.store.tables import MeterRow, RegisterHeadRow, RegisterLifeRow
from services.metering.validation.parameters import Parameters
from services.metering.vee import Finding, Point, RegisterState, judge

_NO_COUNTER: Final = (1, 0)
"""Two counters that nothing lies between."""


def install(
    session: Session,
    meter: MeterRow,
    lives: Sequence[RegisterLife],
    what: Installation | None,
    source: feed.Source,
    parameters: Parameters,
) -> bool:
    """Gives the first life of a meter its begin, or takes it away with None. False if that is recorded already.

    Estimates that do not lie between the first reading and what was read next, or before that without a first reading,
    become gaps, by `source`. Raises InvalidInput for an instant before which readings count or at which the life is
    over, for a counter that the register cannot have shown then, and for a register that would hang elsewhere than its
    housing; FailedPrecondition where figures of that time are kept without their readings.
    """
    first = lives[0]
    now = installed(first, what)
    if now == first:
        return False
    if what is not None:
        _check_housing(session, meter, what)
    _check_kept(session, meter, now.begin_ms)
    read = first_read(session, first, min(first.begin_ms, now.begin_ms))
    known = read if read is not None or not first.is_final_known else Point(first.end_ms, first.final_reading)
    if what is not None and known is not None:
        _check_first(meter, now, known, parameters)
    row = session.exec(select(RegisterLifeRow).where(RegisterLifeRow.key == first.key)).one()
    row.installed_ms, row.first_reading, row.origin = now.installed_ms, now.first_reading, now.origin.value
    session.add(row)
    session.flush()
    if meter.kind == Kind.COUNTER:
        _drop_estimates(session, now, known, source)
    _set_head(session, now)
    return True


def _drop_estimates(session: Session, life: RegisterLife, known: Point | None, source: feed.Source) -> None:
    """Makes gaps again of a counter's estimates that do not lie between its first reading and what is known of it next;
    without a first reading of all before that: nobody knows what it began with."""
    between = _NO_COUNTER
    if installation_of(life) is not None:
        if life.rollover or known is None:
            return
        between = life.first_reading, known.value
    because = replace(source, reason="estimated between other counters than the first ones of the register")
    until_ms = life.end_ms if known is None else known.slot_ms
    # What somebody else brought as an estimate never rested on the first reading.
    only_ours = between is _NO_COUNTER
    edits.drop_estimates(session, life.key, (life.begin_ms, until_ms), between, because, only_ours=only_ours)


def _check_first(meter: MeterRow, life: RegisterLife, read: Point, parameters: Parameters) -> None:
    """Raises InvalidInput if what was read first does not go on from what the register showed as it was hung up."""
    if read.slot_ms < life.begin_ms:
        raise InvalidInput.of("installed_at", f"readings count from {slot_text(read.slot_ms)} on: it hung there then")
    if meter.kind != Kind.COUNTER:
        return
    what = f"the {read.value} read at {slot_text(read.slot_ms)}"
    if read.slot_ms == life.begin_ms:
        if read.value != life.first_reading:
            raise InvalidInput.of("first_reading", f"{life.first_reading} is not {what}, the very same instant")
        return
    rules = rules_of(meter, life, parameters)
    verdict = judge(RegisterState(Point(life.begin_ms, life.first_reading)), rules, read.slot_ms, read.value)
    if verdict.finding is Finding.SPIKE:
        raise InvalidInput.of(
            "first_reading", f"from {life.first_reading} to {what} is more than its connected load or flow allows"
        )
    if read.value < life.first_reading and verdict.finding is not Finding.ROLLOVER:
        raise InvalidInput.of("first_reading", f"{life.first_reading} is more than {what}")


def _check_housing(session: Session, meter: MeterRow, what: Installation) -> None:
    """Raises InvalidInput for a register that would have come at another time than any meter in whose housing it is."""
    if not meter.device_uid:
        return
    housing = lives_of(session, [meter.device_uid])[meter.device_uid]
    begins = [life.installed_ms for life in housing]
    if None not in begins and what.at_ms not in begins:
        raise InvalidInput.of(
            "installed_at", f"the housing that it sits in was hung up at {slot_text(housing[0].begin_ms)}"
        )


def check_registers(session: Session, housing: MeterRow, at_ms: int) -> None:
    """Raises InvalidInput if a register in the housing is known to have come at another time than any meter there, were
    the first one hung up at `at_ms`: the same as `install` says of the register."""
    registers = registers_of(session, housing.uid)
    lives = lives_of(session, [housing.uid, *(row.uid for row in registers)])
    begins = [at_ms, *(life.installed_ms for life in lives[housing.uid][1:])]
    for row in registers:
        begin = lives[row.uid][0].installed_ms
        if None not in begins and begin is not None and begin not in begins:
            raise InvalidInput.of(
                "installed_at",
                f"register {row.meter_id} in its housing was hung up at {slot_text(begin)}: install both together"
                " (InstallMeter, lichtbuch meter install)",
            )


def _check_kept(session: Session, meter: MeterRow, begin_ms: int) -> None:
    """Raises FailedPrecondition where days are kept whose readings were deleted: nobody can work them out anew."""
    state = rollups.states_of(session, [meter.uid]).get(meter.uid)
    if state is None or not state.sealed_ms:
        return
    if begin_ms < state.sealed_ms or rollups.tells_before(session, state.key, state.sealed_ms):
        raise FailedPrecondition.of(
            "installed_at", f"figures until {slot_text(state.sealed_ms)} are kept without their readings, as they are"
        )


def _set_head(session: Session, life: RegisterLife) -> None:
    """The newest reading within the life: what was in doubt before it hung there is none of it."""
    head = session.get(RegisterHeadRow, life.key)
    if head is None:
        return
    newest = edits.newest(session, life.key, life.end_ms)
    head.latest_slot_ms, head.latest_value = newest if newest[0] >= life.begin_ms else (0, 0)
    session.add(head)
    session.flush()
