"""Register lives: which register a meter had when, and what an exchange makes of them. Pure; not: their storage.

A life is the span in which one register counts. Spans of a meter are half open, follow one another and never overlap;
the first begins at a time that nobody knows until its installation is recorded. An exchange splits the life it falls
into, also long after the fact.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np

from domain.errors import FailedPrecondition, InvalidInput, OutOfLimits
from services.metering.reading import VALUE_MAX, Int64, Mask
from services.metering.scale import shifted
from services.metering.slot import slot_text

FOREVER_MS = 2**62
"""Later than anything: the end of a life that has none yet."""


class Origin(StrEnum):
    """Why a life began."""

    CREATED = "created"  # with the meter; what the register showed then is not known
    INSTALLED = "installed"  # only of a first life: a person recorded when it was hung up, and its counter then
    EXCHANGE = "exchange"  # a person recorded the last counter of the old and the first of the new register
    RESET = "reset"  # the service saw the counter begin anew; the old one's last counter is only the last one seen
    DISMOUNTED = "dismounted"  # only of an end: a person recorded the last counter as the meter was taken down
    REMOVED = "removed"  # only of an end: the meter was taken out of use, its last counter is the last one seen


@dataclass(frozen=True, slots=True)
class RegisterLife:
    """One register of a meter. `key` is the store's integer for `uid`; instants are Unix ms, counters base units.

    installed_ms: None if nobody knows. removed_ms: None while it lives. From rollover on all is its own: an exchange
    may bring others.
    """

    key: int
    uid: str
    meter_uid: str
    serial_number: str
    installed_ms: int | None
    removed_ms: int | None
    first_reading: int
    final_reading: int
    origin: Origin
    ended_by: Origin | None
    rollover: int
    transformer_ratio: int
    unit: int
    scale_exponent: int = 0
    obis_code: str = ""

    @property
    def begin_ms(self) -> int:
        """Begin of its span; before everything if unknown."""
        return 0 if self.installed_ms is None else self.installed_ms

    @property
    def end_ms(self) -> int:
        """End of its span, exclusive; after everything while it lives."""
        return FOREVER_MS if self.removed_ms is None else self.removed_ms

    @property
    def is_first_known(self) -> bool:
        """True if the counter at its installation is known (or, after a reset, taken to be)."""
        return self.installed_ms is not None and self.origin is not Origin.CREATED

    @property
    def is_final_known(self) -> bool:
        """True if somebody read the counter at its removal."""
        return self.removed_ms is not None and self.ended_by in (Origin.EXCHANGE, Origin.DISMOUNTED)

    def covers(self, at_ms: int) -> bool:
        """True if it lives at an instant."""
        return self.begin_ms <= at_ms < self.end_ms


@dataclass(frozen=True, slots=True)
class Change:
    """What a new register has otherwise than the one before it; None for what stays. The rollover stays in digits: it
    follows the ratio and the scale where nobody states it."""

    transformer_ratio: int | None = None
    obis_code: str | None = None
    unit: int | None = None
    scale_exponent: int | None = None
    rollover: int | None = None

    def of(self, life: RegisterLife) -> RegisterLife:
        """A life with what has changed. Raises InvalidInput for a rollover that goes with neither ratio nor scale."""
        given = {name: value for name in _DATED if (value := getattr(self, name)) is not None}
        after = replace(life, **given)
        if self.rollover is None:
            digits, rest = divmod(life.rollover * after.transformer_ratio, life.transformer_ratio)
            whole, part = shifted(digits, life.scale_exponent - after.scale_exponent)
            if rest or part:
                raise InvalidInput.of("change.rollover", "it is no whole number with the new ratio and scale: state it")
            return replace(after, rollover=whole)
        if after.rollover % after.transformer_ratio:
            raise InvalidInput.of("change.rollover", "it includes the transformer ratio: a multiple of it is needed")
        return after


_DATED: Final = ("transformer_ratio", "obis_code", "unit", "scale_exponent", "rollover")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One register gives way to another. serial_number None: the same meter, whose counter began anew.

    final_reading is in the old register's unit and scale, first_reading in the new one's.
    """

    at_ms: int
    final_reading: int
    first_reading: int
    origin: Origin
    serial_number: str | None = None
    change: Change = Change()


@dataclass(frozen=True, slots=True)
class Installation:
    """The first register of a meter is hung up. first_reading: its counter then; None of what is no counter."""

    at_ms: int
    first_reading: int | None = None


def installation_of(first: RegisterLife) -> Installation | None:
    """What is recorded of the installation of a first life; None where nobody has said."""
    if first.origin is not Origin.INSTALLED or first.installed_ms is None:
        return None
    return Installation(first.installed_ms, first.first_reading)


def installed(first: RegisterLife, what: Installation | None) -> RegisterLife:
    """The first life of a meter as it was hung up; None takes away what was recorded.

    Raises InvalidInput for an instant that does not lie before its end, or a counter that it cannot show.
    """
    if what is None:
        return replace(first, installed_ms=None, first_reading=0, origin=Origin.CREATED)
    if what.at_ms <= 0:
        raise InvalidInput.of("installed_at", "no register has hung since before 1970")
    if what.at_ms >= first.end_ms:
        raise InvalidInput.of(
            "installed_at", f"that register was taken down, or gave way to another, at {slot_text(first.end_ms)}"
        )
    reading = what.first_reading or 0
    check_counter("first_reading", reading, first)
    return replace(first, installed_ms=what.at_ms, first_reading=reading, origin=Origin.INSTALLED)


def split(lives: Sequence[RegisterLife], exchange: Exchange, uid: str) -> tuple[RegisterLife, RegisterLife]:
    """The life that ends and the one that begins, with `uid` and key 0. Their spans together are that of the old one.

    Raises InvalidInput for counters that the register cannot show, FailedPrecondition for an instant at which no
    register lives or at which one was exchanged already.
    """
    old = next((life for life in lives if life.covers(exchange.at_ms)), None)
    if old is None:
        raise FailedPrecondition.of("exchanged_at", f"no register lives at {slot_text(exchange.at_ms)}")
    if exchange.at_ms <= old.begin_ms:
        what = "an installation" if old.origin is Origin.INSTALLED else "an exchange"
        raise FailedPrecondition.of("exchanged_at", f"{what} at {slot_text(exchange.at_ms)} is recorded already")
    new = exchange.change.of(old)
    _check_counters(old, new, exchange)
    serial = old.serial_number if exchange.serial_number is None else exchange.serial_number
    ended = replace(old, removed_ms=exchange.at_ms, final_reading=exchange.final_reading, ended_by=exchange.origin)
    if new.removed_ms is not None:
        # Somebody read it at the end of what was taken for one life, and stated it as that one's.
        new = replace(new, final_reading=int(reread(np.array([old.final_reading]), old, new)[0]))
    begun = replace(
        new,
        key=0,
        uid=uid,
        serial_number=serial,
        installed_ms=exchange.at_ms,
        first_reading=exchange.first_reading,
        origin=exchange.origin,
    )
    return ended, begun


def amend_reset(before: RegisterLife, after: RegisterLife, exchange: Exchange) -> tuple[RegisterLife, RegisterLife]:
    """Both lives at a boundary that the service had taken for a reset, as a person has recorded it.

    Raises OutOfLimits or InvalidInput for counters that the register cannot show.
    """
    new = exchange.change.of(after)
    _check_counters(before, new, exchange)
    serial = after.serial_number if exchange.serial_number is None else exchange.serial_number
    ended = replace(before, removed_ms=exchange.at_ms, final_reading=exchange.final_reading, ended_by=exchange.origin)
    begun = replace(
        new,
        installed_ms=exchange.at_ms,
        first_reading=exchange.first_reading,
        origin=exchange.origin,
        serial_number=serial,
    )
    return ended, begun


def _check_counters(old: RegisterLife, new: RegisterLife, exchange: Exchange) -> None:
    check_counter("final_reading", exchange.final_reading, old)
    check_counter("first_reading", exchange.first_reading, new)


def check_counter(field: str, value: int, register: RegisterLife) -> None:
    """Raises OutOfLimits or InvalidInput for a counter that a register cannot show."""
    if not 0 <= value <= VALUE_MAX:
        raise OutOfLimits.of(field, f"{value} is not a counter")
    if register.rollover and value >= register.rollover:
        raise InvalidInput.of(field, f"{value} has more digits than the register (rollover {register.rollover})")


def reread(values: Int64, old: RegisterLife, new: RegisterLife, multiplied: Mask | None = None) -> Int64:
    """Values that were stored for one register, as what they are of the register that they were really read from.

    Scale: a value is a quantity, whoever brought it: 105 000 of 1 Wh are 105 of 1 kWh; a part of a count that has not
    passed wholly is left out. Ratio: `multiplied` is the mask of the values that the service itself multiplied by the
    old ratio when it polled the number on the meter; they are brought to new/old. What people and files bring contains
    the ratio already, as the contract says, and is taken at its word. Unit: a file that was read as cubic metres though
    it stood in kWh has the same number in Wh that it had in litres: the number stays.
    """
    shift = old.scale_exponent - new.scale_exponent
    numerator, denominator = 10 ** max(0, shift), 10 ** max(0, -shift)
    ratio = new.transformer_ratio, old.transformer_ratio
    result = _times(values, numerator, denominator)
    if multiplied is not None and ratio[0] != ratio[1] and bool(multiplied.any()):
        result[multiplied] = _times(values[multiplied], numerator * ratio[0], denominator * ratio[1])
    return result


def _times(values: Int64, numerator: int, denominator: int) -> Int64:
    if numerator == denominator:
        return values.copy()
    # Numbers of any size: 16 digits times a ratio of 5 and a scale of 6 more do not fit a column.
    exact = [min(value * numerator // denominator, VALUE_MAX + 1) for value in values.tolist()]
    return np.array(exact, np.int64)


def keys_at(lives: Iterable[RegisterLife], slot_ms: Int64) -> Int64:
    """Key of the life that each slot falls into; -1 where none lives."""
    keys = np.full(len(slot_ms), -1, np.int64)
    for life in lives:
        keys[(slot_ms >= life.begin_ms) & (slot_ms < life.end_ms)] = life.key
    return keys
