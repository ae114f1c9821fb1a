"""What polling reads: a register at a point of an endpoint, with what its next value is judged against. Pure.

Also its snapshot: the list as JSON in a local file, so that a worker that starts while the database is away knows its
meters. A snapshot may be some slots old: what is read twice is stored once.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from domain.errors import Corrupted
from domain.night import DEFAULT_TIME_ZONE
from fieldbus.values import PointAddress, Quality, ValueBatch
from services.metering.meter import Acquisition, Cycle, Kind, parts_of_unit
from services.metering.reading import VALUE_MAX, TimeSource
from services.metering.schedule import last_slot_ms, zone_of
from services.metering.vee import Point, RegisterRules, RegisterState

_SCHEMA: Final = 2
LATEST_STAMP_MS: Final = 60_000
"""A device's clock may be this far ahead of ours before we no longer believe it."""


@dataclass(slots=True)
class Target:
    """A register that is polled. `state` and `settled_ms` (newest slot that was dealt with) move with each slot."""

    name: str
    meter_uid: str
    municipality_uid: str
    life_key: int
    life_uid: str
    endpoint_uid: str
    url: str
    profile: str
    point: str
    rules: RegisterRules
    state: RegisterState
    settled_ms: int = 0
    round_trip_ms: int = 0
    monthly_bytes: int = 0
    serial_number: str = ""
    kind: int = Kind.COUNTER
    scale_exponent: int = 0
    acquisition: int = Acquisition.POLL
    cycle: int = Cycle.UNSPECIFIED
    time_zone: str = DEFAULT_TIME_ZONE

    @property
    def address(self) -> PointAddress:
        """The point to read."""
        return PointAddress(self.point)

    @property
    def identity(self) -> tuple[str, int]:
        """What makes it the same register as before."""
        return self.meter_uid, self.life_key

    def due_ms(self, slot_ms: int) -> int:
        """The slot at which it was to be read last, up to a quarter hour: that itself where it is its turn."""
        return last_slot_ms(self.cycle, slot_ms, zone_of(self.time_zone))


@dataclass(frozen=True, slots=True)
class Sample:
    """A value as a device gave it, in the register's own numbers, transformer ratio included."""

    value: int
    observed_ms: int
    time_source: TimeSource
    is_certain: bool


def sample_of(target: Target, batch: ValueBatch, row: int, now_ms: int) -> Sample | None:
    """The value in a row of a batch as the register's whole number; None if it is missing or not usable, whatever
    number stands there.

    Of a counter, a part of a litre that has not passed wholly does not count yet. A sensor's value is rounded, and may
    be below zero.
    """
    quality, given = int(batch.quality[row]), float(batch.values[row])
    if quality not in (Quality.GOOD, Quality.UNCERTAIN) or not math.isfinite(given):
        return None
    parts, up = parts_of_unit(target.point), 10 ** max(0, -target.scale_exponent)
    down = parts * 10 ** max(0, target.scale_exponent)
    if target.kind == Kind.INSTANT:
        value = round(given * target.rules.transformer_ratio * up / down)
    else:
        if given < 0:
            return None
        whole = given * target.rules.transformer_ratio
        # Whole numbers of what the point counts stay exact; what a finer scale shows beyond them is kept.
        value = (round(whole) if up == 1 else round(whole * up)) // down
    if abs(value) > VALUE_MAX:
        return None
    observed_ms, source = int(batch.observed_at[row]), TimeSource(int(batch.time_source[row]))
    if observed_ms > now_ms + (LATEST_STAMP_MS if source is TimeSource.DEVICE else 0) or observed_ms < 0:
        observed_ms, source = now_ms, TimeSource.SYSTEM
    return Sample(value, min(observed_ms, now_ms), source, quality == Quality.GOOD)


class Snapshot:
    """The list in a file. What a register is changes seldom, where it stands with every slot: so what it is is put into
    words once for each list."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._of: Sequence[Target] = ()
        self._words = "[]"

    def write(self, targets: Sequence[Target]) -> None:
        """Writes the list beside its place and renames it. Raises OSError."""
        standing = [_standing(target) for target in targets]
        if len(targets) != len(self._of) or any(one is not other for one, other in zip(targets, self._of, strict=True)):
            self._words = json.dumps([_described(target) for target in targets])
            self._of = tuple(targets)
        body = f'{{"schema": {_SCHEMA}, "targets": {self._words}, "standing": {json.dumps(standing)}}}'
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_name(self._path.name + ".tmp")
        partial.write_text(body, encoding="utf-8")
        os.replace(partial, self._path)

    def read(self) -> list[Target]:
        """The list; empty if there is none. Raises Corrupted for a file that is none of ours."""
        try:
            document = json.loads(self._path.read_text(encoding="utf-8"))
            if document["schema"] != _SCHEMA:
                return []
            pairs = zip(document["targets"], document["standing"], strict=True)
            return [_target(entry, *standing) for entry, standing in pairs]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Corrupted(f"the snapshot {self._path} cannot be read: {error}") from error


_MOVING: Final = ("life_key", "life_uid", "settled_ms", "state")


def _described(target: Target) -> dict[str, Any]:
    plain = {f.name: getattr(target, f.name) for f in fields(Target) if f.name not in _MOVING}
    return {**plain, "rules": asdict(target.rules)}


def _standing(target: Target) -> tuple[Any, ...]:
    state = target.state
    return target.life_key, target.life_uid, target.settled_ms, state.good, state.suspect, state.latest, state.before


def _target(entry: dict[str, Any], life_key: int, life_uid: str, settled_ms: int, *points: list[int] | None) -> Target:
    # A version that did not know the reading before the last one wrote a point less.
    state = RegisterState(*(None if pair is None else Point(*pair) for pair in points))
    rules = RegisterRules(**entry.pop("rules"))
    return Target(**entry, rules=rules, life_key=life_key, life_uid=life_uid, settled_ms=settled_ms, state=state)
