"""Readings of a meter as the pages show them, and what is plausible for one that somebody is about to enter. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.night import instant_from_unix_ms
from lichtbuch.metering.v1 import metering_pb2
from services.admin.figures import instant
from services.admin.meters import MeterItem

NO_VALUE: Final = (metering_pb2.READING_STATUS_GAP,)
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Reading:
    """One revision of a reading."""

    slot: datetime
    value: int
    status: int
    """A ReadingStatus of the contract."""
    revision: int
    source: str
    actor: str
    reason: str
    stored_at: datetime | None

    @property
    def has_value(self) -> bool:
        """Its value means something."""
        return self.status not in NO_VALUE


@dataclass(frozen=True, slots=True)
class ReadingNow:
    """What stands at a slot, and what stood there before, the newest first."""

    current: Reading
    before: tuple[Reading, ...]


def readings_from_proto(columns: metering_pb2.ReadingColumns) -> tuple[ReadingNow, ...]:
    """The readings of one meter in all revisions, by slot."""
    at: dict[int, list[Reading]] = {}
    for row, slot in enumerate(columns.slots_unix_ms):
        batch = metering_pb2.ReadingBatch()
        if row < len(columns.batch_indexes) and columns.batch_indexes[row] < len(columns.batches):
            batch = columns.batches[columns.batch_indexes[row]]
        at.setdefault(slot, []).append(
            Reading(
                slot=instant_from_unix_ms(slot),
                value=columns.values[row],
                status=int(columns.statuses[row]) if columns.statuses else int(metering_pb2.READING_STATUS_MEASURED),
                revision=columns.revisions[row] if columns.revisions else 0,
                source=batch.source,
                actor=batch.actor,
                reason=batch.reason,
                stored_at=instant(batch.stored_at) if batch.HasField("stored_at") else None,
            )
        )
    found = []
    for slot in sorted(at):
        newest, *older = sorted(at[slot], key=lambda each: each.revision, reverse=True)
        found.append(ReadingNow(newest, tuple(older)))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Doubt:
    """What speaks against a reading. `rule` is a word of the validation's rules."""

    rule: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """What the service says to a reading that it was shown and did not store."""

    refusals: tuple[str, ...]
    doubts: tuple[Doubt, ...]
    is_stored: bool = False
    """The same reading is there already."""


def trial_from_proto(answer: metering_pb2.IngestReadingsResponse) -> Trial:
    """The answer to a dry run; refusals come without the index of the reading, there is but one."""
    return Trial(
        tuple(text.split(": ", 1)[-1] if text.split(": ", 1)[0].isdigit() else text for text in answer.refusals),
        tuple(Doubt(each.rule, each.detail) for each in answer.findings),
        bool(answer.unchanged) and not answer.stored,
    )


def all_doubts(meter: MeterItem, last: Reading | None, value: int, trial: Trial) -> tuple[Doubt, ...]:
    """What the service doubts, and what is plain to see: a counter that stands lower than last time."""
    named = {doubt.rule for doubt in trial.doubts}
    plain = last is not None and meter.kind == metering_pb2.READING_KIND_COUNTER and value < last.value
    own = (Doubt("negative_step"),) if plain and not named & {"negative_step", "small_step_back"} else ()
    return (*own, *trial.doubts)


@dataclass(frozen=True, slots=True)
class Since:
    """How far a counter went since the last reading, in its scale."""

    amount: int
    seconds: int

    @property
    def per_day(self) -> int | None:
        """As much a day; None for less than an hour."""
        return self.amount * _DAY_S // self.seconds if self.seconds >= 3600 else None


def since_last(meter: MeterItem, last: Reading | None, value: int, at: datetime) -> Since | None:
    """The step of a counter since the last reading before; None where there is none to tell of."""
    if last is None or meter.kind != metering_pb2.READING_KIND_COUNTER or at <= last.slot:
        return None
    return Since(value - last.value, int((at - last.slot).total_seconds()))


def last_before(readings: Iterable[ReadingNow], at: datetime) -> Reading | None:
    """The last reading with a value before an instant that nobody doubts."""
    doubtful = (metering_pb2.READING_STATUS_GAP, metering_pb2.READING_STATUS_DOUBTFUL)
    usable = [each.current for each in readings if each.current.slot < at and each.current.status not in doubtful]
    return max(usable, key=lambda each: each.slot, default=None)
