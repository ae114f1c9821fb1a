"""Register lives: which register a meter had when, and what an exchange makes of them. Pure; not: their storage.

A life is the span in which one register counts. Spans of a meter are half open, follow one another and never overlap;
the first may begin at a time that nobody knows. An exchange splits the life it falls into, also long after the fact.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from domain.errors import FailedPrecondition, InvalidInput, OutOfLimits
from services.metering.reading import VALUE_MAX, Int64
from services.metering.slot import slot_text

FOREVER_MS = 2**62
"""Later than anything: the end of a life that has none yet."""


class Origin(StrEnum):
    """Why a life began."""

    CREATED = "created"  # with the meter; what the register showed then is not known
    EXCHANGE = "exchange"  # a person recorded the last counter of the old and the first of the new register
    RESET = "reset"  # the service saw the counter begin anew; the old one's last counter is only the last one seen
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
        return self.removed_ms is not None and self.ended_by is Origin.EXCHANGE

    def covers(self, at_ms: int) -> bool:
        """True if it lives at an instant."""
        return self.begin_ms <= at_ms < self.end_ms


@dataclass(frozen=True, slots=True)
class Exchange:
    """One register gives way to another. serial_number None: the same meter, whose counter began anew."""

    at_ms: int
    final_reading: int
    first_reading: int
    origin: Origin
    serial_number: str | None = None


def split(lives: Sequence[RegisterLife], exchange: Exchange, uid: str) -> tuple[RegisterLife, RegisterLife]:
    """The life that ends and the one that begins, with `uid` and key 0. Their spans together are that of the old one.

    Raises InvalidInput for counters that the register cannot show, FailedPrecondition for an instant at which no
    register lives or at which one was exchanged already.
    """
    old = next((life for life in lives if life.covers(exchange.at_ms)), None)
    if old is None:
        raise FailedPrecondition.of("exchanged_at", f"no register lives at {slot_text(exchange.at_ms)}")
    if exchange.at_ms <= old.begin_ms:
        raise FailedPrecondition.of("exchanged_at", f"an exchange at {slot_text(exchange.at_ms)} is recorded already")
    _check_counters(old, exchange)
    serial = old.serial_number if exchange.serial_number is None else exchange.serial_number
    ended = replace(old, removed_ms=exchange.at_ms, final_reading=exchange.final_reading, ended_by=exchange.origin)
    begun = replace(
        old,
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
    _check_counters(before, exchange)
    serial = after.serial_number if exchange.serial_number is None else exchange.serial_number
    ended = replace(before, removed_ms=exchange.at_ms, final_reading=exchange.final_reading, ended_by=exchange.origin)
    begun = replace(
        after,
        installed_ms=exchange.at_ms,
        first_reading=exchange.first_reading,
        origin=exchange.origin,
        serial_number=serial,
    )
    return ended, begun


def _check_counters(old: RegisterLife, exchange: Exchange) -> None:
    for field in ("final_reading", "first_reading"):
        value: int = getattr(exchange, field)
        if not 0 <= value <= VALUE_MAX:
            raise OutOfLimits.of(field, f"{value} is not a counter")
        if old.rollover and value >= old.rollover:
            raise InvalidInput.of(field, f"{value} has more digits than the register (rollover {old.rollover})")


def keys_at(lives: Iterable[RegisterLife], slot_ms: Int64) -> Int64:
    """Key of the life that each slot falls into; -1 where none lives."""
    keys = np.full(len(slot_ms), -1, np.int64)
    for life in lives:
        keys[(slot_ms >= life.begin_ms) & (slot_ms < life.end_ms)] = life.key
    return keys
