"""Counters of meters: what happened between two readings of one register, and the life a register has.

A register lives from its installation to its removal; an exchange ends one life and begins another, each with its own
first and final reading. Within a life a counter rises, save for noise, rollovers and resets, which are told apart here.

Amounts are whole base units of the meter (Wh, litre), instants are Unix milliseconds. Not here: consumption of
intervals (intervals.py), and which readings are in doubt (validation is metering's).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.errors import InvalidInput
from domain.night import instant_from_unix_ms, unix_ms

Ints = NDArray[np.int64]

_HOUR_MS: Final = 3_600_000
_NO_LIMIT: Final = 2**62


class Step(Enum):
    """What happened between two readings of one register."""

    FORWARD = "forward"
    NOISE = "noise"  # it stepped back by no more than its resolution
    ROLLOVER = "rollover"  # it passed its largest number
    RESET = "reset"  # it began again at zero; what was counted up to then is lost
    BREAK = "break"  # neither: an exchange nobody recorded, or another scale
    SPIKE = "spike"  # a single reading that its neighbours contradict; it is left out


@dataclass(frozen=True, slots=True)
class Register:
    """What is known about a register beside its readings, in the meter's base units.

    rollover: largest number plus one; 0 if it never rolls over. With a transformer ratio: times that ratio.
    noise: largest step back that is taken for noise; the counter's resolution.
    max_rate_per_h: most that can be counted in an hour (for Wh: the connected load in W); 0 if unknown. With it
    rollover, reset and unrecorded exchange are told apart for certain; without it by rules of thumb.
    """

    rollover: int = 0
    noise: int = 1
    max_rate_per_h: int = 0

    def __post_init__(self) -> None:
        for name in ("rollover", "noise", "max_rate_per_h"):
            if getattr(self, name) < 0:
                raise InvalidInput.of(name, f"{getattr(self, name)} is negative")

    def most(self, elapsed_ms: int) -> int | None:
        """Most that can be counted in a time, rounding of the counter at both ends included; None if unknown."""
        if not self.max_rate_per_h:
            return None
        return -(-self.max_rate_per_h * max(0, elapsed_ms) // _HOUR_MS) + 2 * self.noise

    def plainly_most(self, elapsed_ms: Ints) -> Ints:
        """Most that a step forward can count and be nothing else, for many times at once."""
        most = np.full(elapsed_ms.shape, self.rollover - self.noise - 1 if self.rollover else _NO_LIMIT, np.int64)
        if self.max_rate_per_h:
            most = np.minimum(most, (self.max_rate_per_h * (elapsed_ms / _HOUR_MS)).astype(np.int64))
        return most


def classify_step(register: Register, previous: int, current: int, elapsed_ms: int) -> tuple[Step, int]:
    """What happened between two readings, and the amount that was counted.

    Without a known rate a step back is a rollover from the last quarter of the range into the first, else a reset if
    the new counter is at most a tenth of the old one, else a break.
    """
    most = register.most(elapsed_ms)
    back = (previous - current) % register.rollover if register.rollover else previous - current
    if 0 < back <= register.noise:
        return Step.NOISE, 0
    if current >= previous:
        amount = current - previous
        return (Step.FORWARD, amount) if most is None or amount <= most else (Step.BREAK, 0)
    if register.rollover:
        forward = current + register.rollover - previous
        quarter = register.rollover // 4
        usual = previous >= register.rollover - quarter and current <= quarter
        if usual if most is None else forward <= most:
            return Step.ROLLOVER, forward
    if current <= (previous // 10 if most is None else most):
        return Step.RESET, current
    return Step.BREAK, 0


def is_spike(register: Register, before: tuple[int, int], at: tuple[int, int], after: tuple[int, int]) -> bool:
    """True if a reading (counter, instant) contradicts both neighbours, while these fit to each other.

    Asked for a reading that began a RESET or a BREAK after `before`.
    """
    over, _ = classify_step(register, before[0], after[0], after[1] - before[1])
    if over not in (Step.FORWARD, Step.NOISE):
        return False
    if at[0] > before[0]:
        return True
    # A dip. Where the rate is known, coming back up this fast must be impossible; else a dip of one reading is enough.
    most = register.most(after[1] - at[1])
    return most is None or after[0] - at[0] > most


def is_overshoot(register: Register, before: tuple[int, int], at: tuple[int, int], after: tuple[int, int]) -> bool:
    """True if a reading (counter, instant) that went forward from `before` was a spike, as `after` shows: below it, and
    going on from `before`.

    Asked for a RESET, a BREAK or a ROLLOVER from `at` to `after`. A rollover would have made more than a whole turn in
    two steps: that is believed only where the rate is known, and allows it.
    """
    if after[0] >= at[0]:
        return False
    elapsed_ms = after[1] - at[1]
    if register.max_rate_per_h and classify_step(register, at[0], after[0], elapsed_ms)[0] is Step.ROLLOVER:
        return False
    return classify_step(register, before[0], after[0], after[1] - before[1])[0] in (Step.FORWARD, Step.NOISE)


@dataclass(frozen=True, slots=True)
class Life:
    """A register from installation to removal, with its readings by time.

    instants_ms, counters: the readings, in any order; of one instant one only. Those in doubt are left out beforehand.
    installed_at_ms with first_reading, removed_at_ms with final_reading: as recorded at the exchange; None if unknown.
    A recorded reading replaces one of the same instant. estimated_ms: instants of the readings that are estimates.
    Raises InvalidInput.
    """

    instants_ms: Ints
    counters: Ints
    register: Register = field(default_factory=Register)
    installed_at_ms: int | None = None
    first_reading: int | None = None
    removed_at_ms: int | None = None
    final_reading: int | None = None
    estimated_ms: Ints = field(default_factory=lambda: np.empty(0, np.int64))

    @classmethod
    def of(
        cls,
        readings: Iterable[tuple[datetime, int]],
        register: Register | None = None,
        *,
        installed: tuple[datetime, int] | None = None,
        removed: tuple[datetime, int] | None = None,
    ) -> "Life":
        """From readings (instant, counter); `installed` and `removed` are instant and counter of both ends."""
        pairs = list(readings)
        return cls(
            np.array([unix_ms(instant) for instant, _ in pairs], dtype=np.int64),
            np.array([counter for _, counter in pairs], dtype=np.int64),
            register or Register(),
            *((unix_ms(installed[0]), installed[1]) if installed else (None, None)),
            *((unix_ms(removed[0]), removed[1]) if removed else (None, None)),
        )

    def ordered(self) -> tuple[Ints, Ints]:
        """Instants and counters by time, both ends of the life included. Raises InvalidInput."""
        instants = np.asarray(self.instants_ms, dtype=np.int64)
        counters = np.asarray(self.counters, dtype=np.int64)
        if instants.shape != counters.shape or instants.ndim != 1:
            raise InvalidInput.of("counters", "instants and counters are not columns of one length")
        for at, reading in ((self.installed_at_ms, self.first_reading), (self.removed_at_ms, self.final_reading)):
            if at is not None and reading is not None:
                others = instants != at
                instants = np.append(instants[others], np.int64(at))
                counters = np.append(counters[others], np.int64(reading))
        order = np.argsort(instants, kind="stable")
        instants, counters = instants[order], counters[order]
        self._check(instants, counters)
        return instants, counters

    def _check(self, instants: Ints, counters: Ints) -> None:
        if not instants.size:
            return
        if bool(np.any(np.diff(instants) == 0)):
            twice = int(instants[:-1][np.diff(instants) == 0][0])
            raise InvalidInput.of("instants_ms", f"two readings at {instant_from_unix_ms(twice).isoformat()}")
        if self.installed_at_ms is not None and int(instants[0]) < self.installed_at_ms:
            raise InvalidInput.of("instants_ms", "a reading lies before the installation of its register")
        if self.removed_at_ms is not None and int(instants[-1]) > self.removed_at_ms:
            raise InvalidInput.of("instants_ms", "a reading lies after the removal of its register")
        if int(counters.min()) < 0:
            raise InvalidInput.of("counters", "a counter is negative")
        if self.register.rollover and int(counters.max()) >= self.register.rollover:
            raise InvalidInput.of("counters", f"a counter is not below the rollover of {self.register.rollover}")
