"""What a person may put in the place of readings, and what that makes of them. Pure.

An edit is a new revision by somebody who says why. It is refused whole where one of its slots is wrong: outside of the
register's life, in the future, off the minute, more than the register can show, or seen in another revision than the
one that stands there now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from domain.errors import Conflict, FailedPrecondition, InvalidInput, Violation
from services.metering.life import RegisterLife, keys_at
from services.metering.meter import Kind
from services.metering.reading import (
    Int64,
    Readings,
    Refusals,
    Status,
    TimeSource,
    check_slots,
    check_values,
)
from services.metering.slot import slot_text

BY_EDIT: Final = (Status.EDITED, Status.SUBSTITUTED, Status.GAP)
MOST_TOLD: Final = 20
"""Wrong slots that are named; the others are wrong in the same way."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Slots and their new values (0 where status is a gap). seen: revisions that the caller saw, -1 for no reading;
    empty to overrule whatever stands there."""

    slot_ms: Int64
    value: Int64
    status: Status
    seen: Int64


def checked(edit: Edit, kind: Kind, lives: Sequence[RegisterLife], now_ms: int) -> Int64:
    """Keys of the registers that lived at the slots. Raises InvalidInput that names what is wrong, FailedPrecondition
    for a meter that has no readings of its own."""
    if kind is Kind.VIRTUAL:
        raise FailedPrecondition.of("name", "a virtual meter has no readings: edit those of its parts")
    if edit.status not in BY_EDIT:
        raise InvalidInput.of("status", "an edit is edited, substituted or a gap")
    count = len(edit.slot_ms)
    if not count:
        raise InvalidInput.of("slots_unix_ms", "there is nothing to edit")
    if edit.status is not Status.GAP and len(edit.value) != count:
        raise InvalidInput.of("values", f"{len(edit.value)} elements where there are {count} slots")
    if len(edit.seen) not in (0, count):
        raise InvalidInput.of("seen_revisions", f"{len(edit.seen)} elements where there are {count} slots")
    refusals = Refusals(count)
    # A gap takes away what stands there, also at the minute at which somebody read the meter.
    status = np.full(count, Status.EDITED if edit.status is Status.GAP else edit.status, np.int64)
    check_slots(edit.slot_ms, status, edit.slot_ms, now_ms, refusals)
    order = np.argsort(edit.slot_ms, kind="stable")
    refusals.add(order[1:][np.diff(edit.slot_ms[order]) == 0], "the slot comes twice")
    keys = keys_at(lives, edit.slot_ms)
    refusals.add(keys < 0, "no register lived then")
    if edit.status is not Status.GAP:
        rollover = np.zeros(count, np.int64)
        for life in lives:
            rollover[keys == life.key] = life.rollover
        signed = np.full(count, kind is Kind.INSTANT)
        check_values(edit.value, status, rollover, signed, refusals)
    if refusals.count:
        raise InvalidInput(violations=_violations(refusals))
    return keys


def _violations(refusals: Refusals) -> list[Violation]:
    told = [sentence.split(": ", 1) for sentence in refusals.sentences()[:MOST_TOLD]]
    return [Violation(f"slots_unix_ms[{row}]", reason) for row, reason in told]


def revised(edit: Edit, keys: Int64, there: Readings) -> tuple[Readings, Readings]:
    """The new revisions, and what they replace, in order of register and slot; what says the same already is left out.

    `there`: current readings at the slots. Raises Conflict where another revision stands than was seen, InvalidInput
    for a gap where nothing is stored.
    """
    order = np.lexsort((edit.slot_ms, keys))
    slots, registers = edit.slot_ms[order], keys[order]
    standing = {(key, slot): row for row, (key, slot) in enumerate(zip(*_keys(there), strict=True))}
    place = np.array(
        [standing.get(pair, -1) for pair in zip(registers.tolist(), slots.tolist(), strict=True)], np.int64
    )
    revision = np.where(place < 0, -1, there.revision[place]) if len(there) else np.full(len(place), -1, np.int64)
    if len(edit.seen):
        _check_seen(slots, edit.seen[order], revision)
    if edit.status is Status.GAP and bool((place < 0).any()):
        missing = int(slots[int(np.argmax(place < 0))])
        raise InvalidInput.of("slots_unix_ms", f"no reading is stored at {slot_text(missing)}")
    values = np.zeros(len(slots), np.int64) if edit.status is Status.GAP else edit.value[order]
    new = Readings.of(
        registers,
        slots,
        values,
        np.full(len(slots), edit.status, np.int64),
        slots,
        np.full(len(slots), TimeSource.SYSTEM, np.int64),
        revision + 1,
    )
    fresh = np.ones(len(slots), np.bool_)
    known = place >= 0
    fresh[known] = ~_says_the_same(new.take(known), there.take(place[known]))
    return new.take(fresh), there.take(place[fresh & known])


def _keys(readings: Readings) -> tuple[list[int], list[int]]:
    return readings.register.tolist(), readings.slot_ms.tolist()


def _says_the_same(new: Readings, there: Readings) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    same_value = new.is_gap | (new.value == there.value)
    # What was measured and is right needs no edit; what was in doubt or estimated is confirmed by one.
    measured = np.isin(there.status, (Status.MEASURED, Status.HAND)) & (new.status == Status.EDITED)
    same: np.ndarray[tuple[int], np.dtype[np.bool_]] = same_value & ((new.status == there.status) | measured)
    return same


def _check_seen(slots: Int64, seen: Int64, revision: Int64) -> None:
    other = np.flatnonzero(seen != revision)
    if len(other):
        row = int(other[0])
        stands = f"revision {int(revision[row])}" if revision[row] >= 0 else "no reading"
        saw = f"revision {int(seen[row])}" if seen[row] >= 0 else "none"
        raise Conflict(f"at {slot_text(int(slots[row]))} stands {stands}, you have seen {saw}: look again")
