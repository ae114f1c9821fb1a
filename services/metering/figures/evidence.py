"""The bytes that a figure rests on, and their hash. Pure.

Canonical JSON (domain/canonical.py) of every register life and reading that went into an answer: whoever holds the
readings can write the same bytes and compare the hash. Columns are written here directly, as a year of a meter is 35
000 readings; the test holds that the bytes are those of `domain.canonical`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from domain.canonical import CANONICAL_VERSION, canonical_bytes
from domain.gas import GasFactors, gas_day_bounds
from domain.night import instant_from_unix_ms
from services.metering.life import RegisterLife
from services.metering.reading import Int64, Readings

KIND: Final = "lichtbuch.metering.readings"
SCHEMA: Final = 1


@dataclass(frozen=True, slots=True)
class Conversion:
    """What made energy of gas. factors: gas day from which each holds, Wh per m3, ten-thousandths of the state number.
    worth: what each register counts, by the uid of its life: volume as it flows, at base conditions, or energy."""

    factors: Sequence[tuple[str, int, int]]
    worth: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class MeterEvidence:
    """What the figures of one meter rest on: its lives, and the usable readings in order of register and slot.

    span: Unix ms of the first and last thing that counts. What was recorded about a register outside of it, an exchange
    of next year, is no part of the evidence: it changes nothing about the figures. deliveries: instant and amount of
    those that a store's use rests on; meters of other kinds have none, and their evidence does not speak of them.
    conversion: what turned a gas meter's readings into energy, where that was asked for.
    """

    uid: str
    lives: Sequence[RegisterLife]
    readings: Readings
    span: tuple[int, int]
    deliveries: Sequence[tuple[int, int]] = ()
    conversion: Conversion | None = None


def converted(evidence: MeterEvidence, factors: GasFactors, worth: Mapping[str, str]) -> MeterEvidence:
    """The evidence of the same figures in energy: with the factors that hold within its span, and what the registers
    count (by the uid of their life)."""
    first, last = (instant_from_unix_ms(edge) for edge in evidence.span)
    held = [one for one in factors.factors if gas_day_bounds(one.valid_from, factors.tz)[0] <= last]
    begun = [one for one in held if gas_day_bounds(one.valid_from, factors.tz)[0] <= first]
    used = [*begun[-1:], *held[len(begun) :]]
    rows = tuple((one.valid_from.isoformat(), one.calorific_value_wh_per_m3, one.state_number_e4) for one in used)
    return replace(evidence, conversion=Conversion(rows, worth))


def evidence_of(
    uid: str,
    lives: Sequence[RegisterLife],
    readings: Readings,
    bounds: tuple[int, int],
    deliveries: Sequence[tuple[int, int]] = (),
) -> MeterEvidence:
    """The evidence of figures between two instants; readings may lie on both sides of them.

    Where none does, a first or final counter that lies beyond takes its place: the line goes from there.
    """
    slots = readings.slot_ms
    first, last = (min(bounds[0], int(slots.min())), max(bounds[1], int(slots.max()))) if len(slots) else bounds
    if not bool((slots <= bounds[0]).any()):
        first = max((life.begin_ms for life in lives if life.is_first_known and life.begin_ms <= first), default=first)
    if not bool((slots >= bounds[1]).any()):
        last = min((life.end_ms for life in lives if life.is_final_known and life.end_ms >= last), default=last)
    used = [life for life in lives if life.begin_ms <= last and life.end_ms > first]
    brought = [one for one in deliveries if first < one[0] <= last]
    return MeterEvidence(uid, used, readings, (first, last), brought)


def evidence_hash(meters: Iterable[MeterEvidence]) -> str:
    """SHA-256 in hex over the evidence of meters."""
    digest = hashlib.sha256()
    for piece in evidence_pieces(meters):
        digest.update(piece)
    return digest.hexdigest()


def evidence_pieces(meters: Iterable[MeterEvidence]) -> Iterator[bytes]:
    """The canonical document in pieces. Meters are put in order of their uid, so that the asking order is no matter."""
    yield b'{"body":{"meters":['
    for number, meter in enumerate(sorted(meters, key=lambda one: one.uid)):
        yield b"," if number else b""
        yield from _meter(meter)
    yield f']}},"canonical":{CANONICAL_VERSION},"kind":"{KIND}","schema":{SCHEMA}}}'.encode()


def _meter(meter: MeterEvidence) -> Iterator[bytes]:
    yield b"{"
    if meter.deliveries:
        yield b'"deliveries":' + canonical_bytes([list(one) for one in sorted(meter.deliveries)]) + b","
    if meter.conversion is not None:
        yield b'"gas_factors":' + canonical_bytes([list(one) for one in meter.conversion.factors]) + b","
    yield b'"lives":['
    for number, life in enumerate(sorted(meter.lives, key=lambda one: (one.begin_ms, one.uid))):
        yield b"," if number else b""
        mine = meter.readings.take(meter.readings.register == life.key)
        worth = None if meter.conversion is None else meter.conversion.worth.get(life.uid)
        yield from _life(life, mine, meter.span, worth)
    yield b'],"uid":' + canonical_bytes(meter.uid) + b"}"


def _life(life: RegisterLife, readings: Readings, span: tuple[int, int], worth: str | None) -> Iterator[bytes]:
    begins = life.is_first_known and span[0] <= life.begin_ms <= span[1]
    ends = life.is_final_known and span[0] <= life.end_ms <= span[1]
    # Keys in order of their code points, as canonical JSON has them.
    yield b'{"final_reading":' + canonical_bytes(life.final_reading if ends else None)
    yield b',"first_reading":' + canonical_bytes(life.first_reading if begins else None)
    yield b',"installed_ms":' + canonical_bytes(life.installed_ms if begins else None)
    yield b',"removed_ms":' + canonical_bytes(life.removed_ms if ends else None)
    yield b',"revisions":' + _column(readings.revision)
    yield b',"rollover":' + canonical_bytes(life.rollover)
    yield b',"slots_ms":' + _column(readings.slot_ms)
    yield b',"statuses":' + _column(readings.status)
    yield b',"uid":' + canonical_bytes(life.uid)
    yield b',"values":' + _column(readings.value)
    yield (b',"worth":' + canonical_bytes(worth) if worth is not None else b"") + b"}"


def _column(values: Int64) -> bytes:
    return ("[" + ",".join(map(str, values.tolist())) + "]").encode("ascii")
