"""How each luminaire follows: what it was told, whether it has settled, how often it did not obey. In columns.

The question that control asks of it is `needs`: which luminaires must be told their due level now. Instants are domain
time in Unix ms where a lamp fades or boots, monotonic real seconds where a device is given a rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from services.lighting.abilities import GatewayAbilities
from services.lighting.columns import Columns, Flags, Levels, Rows

NOTHING_TOLD: Final = -1
LONGEST_REST_S: Final = 60.0
FIRST_REST_S: Final = 1.0

Which = Rows | slice
"""Some luminaires by row, or slice(None) for all; the other columns of a call belong to these."""

_KEPT: Final = (
    "told", "tried", "settle_ms", "misses", "rest_until", "silent", "silent_since_ms", "lamp_failure", "gear_failure",
    "lit_by_day", "fade_s",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FollowingLimits:
    """How often is often enough. All in readings or writes of one luminaire."""

    misses: int = 3
    """Commands that it did not follow until that is a dimming failure."""
    silences: int = 3
    """Readings without an answer until that is a communication loss."""
    day_readings: int = 3
    """Readings with light by day until it is a day burner."""


class Following:
    """The columns; rows as in the inventory's columns."""

    def __init__(self, columns: Columns, limits: FollowingLimits) -> None:
        count = columns.count
        self.limits = limits
        self.told: Levels = np.full(count, NOTHING_TOLD, dtype=np.int16)
        """What it acknowledged last since it had supply; NOTHING_TOLD for nothing."""
        self.tried: Levels = np.full(count, NOTHING_TOLD, dtype=np.int16)
        """What was sent last, acknowledged or not."""
        self.settle_ms = np.zeros(count, dtype=np.int64)
        """Until then it may still be fading or booting."""
        self.misses = np.zeros(count, dtype=np.uint8)
        self.rest_until = np.zeros(count, dtype=np.float64)
        """Monotonic real time before which the same command is not sent again."""
        self.silent = np.zeros(count, dtype=np.uint8)
        self.silent_since_ms = np.zeros(count, dtype=np.int64)
        self.lamp_failure = np.zeros(count, dtype=np.bool_)
        self.gear_failure = np.zeros(count, dtype=np.bool_)
        self.lit_by_day = np.zeros(count, dtype=np.uint8)
        self.fade_s = np.full(count, np.nan)
        """Fade time that we gave it; NaN for none."""
        # Set by control for each gateway that it can reach.
        self.from_memory = np.zeros(count, dtype=np.bool_)
        self._kind = np.zeros(count, dtype=np.int16)
        self._expected = np.zeros((1, 1001), dtype=np.int16)
        self._tolerance = np.zeros((1, 1001), dtype=np.int16)

    def take_over(self, other: Following, pairs: tuple[Rows, Rows]) -> None:
        """Keeps what is known of luminaires that stay: rows there, rows here."""
        there, here = pairs
        for name in _KEPT:
            getattr(self, name)[here] = getattr(other, name)[there]

    def reached_by(self, gateways: list[tuple[Rows, GatewayAbilities]]) -> None:
        """Says how exactly each luminaire's level can be read, by its gateway."""
        kinds: dict[int, int] = {}
        tables: list[GatewayAbilities] = []
        for rows, abilities in gateways:
            if id(abilities) not in kinds:
                kinds[id(abilities)] = len(tables)
                tables.append(abilities)
            self._kind[rows] = kinds[id(abilities)]
            self.from_memory[rows] = abilities.from_memory
        if tables:
            self._expected = np.stack([table.expected for table in tables])
            self._tolerance = np.stack([table.tolerance for table in tables])

    def follows(self, rows: Which, actual: Levels, asked: Levels) -> Flags:
        """Whether levels that were read show what was asked; lit and dark are never taken for each other."""
        known, kind = np.clip(asked, 0, 1000), self._kind[rows]
        near = np.abs(actual - self._expected[kind, known]) <= self._tolerance[kind, known]
        shown: Flags = near & ((actual > 0) == (asked > 0)) & (actual >= 0) & (asked >= 0)
        return shown

    def is_settled(self, rows: Which, now_ms: int) -> Flags:
        """Whether nothing fades or boots any more."""
        settled: Flags = self.settle_ms[rows] <= now_ms
        return settled

    def is_booting(self, rows: Which, now_ms: int) -> Flags:
        """Whether the gear got supply just now and need not answer yet."""
        booting: Flags = (self.told[rows] == NOTHING_TOLD) & (self.settle_ms[rows] > now_ms)
        return booting

    def shows(self, rows: Which, actual: Levels, due: Levels, now_ms: int) -> Flags:
        """Whether a luminaire shows its due level, or is on its way there, so that nothing has to be told."""
        told, settled = self.told[rows], self.is_settled(rows, now_ms)
        on_its_way = (told == due) & (~settled | self.lamp_failure[rows])
        # What a gateway only remembers proves nothing before it was told once since the gear had supply. And what was
        # told another level last is told this one, however near the two are.
        meant = (self.tried[rows] == due) & settled
        seen = self.follows(rows, actual, due) & (meant | (told == NOTHING_TOLD))
        shown: Flags = on_its_way | (seen & ~(self.from_memory[rows] & (told == NOTHING_TOLD)))
        return shown

    def needs(self, rows: Which, actual: Levels, due: Levels, now_ms: int, monotonic: float) -> Flags:
        """Which luminaires must be told their due level now, as far as that is for them to say."""
        rested = (self.tried[rows] != due) | (self.rest_until[rows] <= monotonic)
        needs: Flags = (due >= 0) & ~self.shows(rows, actual, due, now_ms) & rested
        return needs

    def sent(self, rows: Rows, level: Levels, monotonic: float) -> None:
        """Levels are on their way: the same one again after a rest that doubles."""
        again = self.tried[rows] == level
        # A new command starts with patience; what did not follow before is still known not to.
        self.misses[rows] = np.where(again, np.minimum(self.misses[rows] + 1, 250), self.misses[rows])
        exponent = np.where(again, np.minimum(self.misses[rows], 8), 0)
        self.rest_until[rows] = monotonic + np.minimum(FIRST_REST_S * 2.0**exponent, LONGEST_REST_S)
        self.tried[rows] = level

    def acknowledged(self, rows: Rows, level: Levels, settle_ms: int) -> None:
        """Devices took the levels; they will have settled at an instant."""
        self.told[rows] = level
        self.settle_ms[rows] = settle_ms

    def answered(self, rows: Rows) -> None:
        """These answered. What was told while they were silent is not held against them: who knows who heard it."""
        self.misses[rows[self.silent[rows] > 0]] = 0
        self.silent[rows] = 0

    def kept_silent(self, rows: Rows, now_ms: int) -> Rows:
        """These did not answer. Returns those that have now been silent often enough to be called lost."""
        first = rows[self.silent[rows] == 0]
        self.silent_since_ms[first] = now_ms
        self.silent[rows] = np.minimum(self.silent[rows] + 1, 250)
        lost: Rows = rows[self.silent[rows] == self.limits.silences]
        return lost

    def obeyed(self, rows: Rows) -> None:
        """These show their due level, settled."""
        self.misses[rows] = 0

    def supplied(self, rows: Rows, settle_ms: int) -> None:
        """Gear got supply, or lost it: it remembers nothing, and nothing is held against it."""
        self.told[rows] = NOTHING_TOLD
        self.tried[rows] = NOTHING_TOLD
        self.settle_ms[rows] = settle_ms
        self.misses[rows] = 0
        self.rest_until[rows] = 0.0
        self.silent[rows] = 0
        # A lamp that failed stays failed while its feeder is off: by day, when somebody looks, it is still to be seen.
        self.gear_failure[rows] = False
        self.lit_by_day[rows] = 0

    @property
    def is_silent(self) -> Flags:
        """Which luminaires count as lost."""
        silent: Flags = self.silent >= self.limits.silences
        return silent

    @property
    def is_disobedient(self) -> Flags:
        """Which luminaires did not follow often enough."""
        stuck: Flags = (self.misses >= self.limits.misses) & ~self.lamp_failure
        return stuck

    @property
    def burns_by_day(self) -> Flags:
        """Which luminaires were seen lit by day often enough."""
        burns: Flags = self.lit_by_day >= self.limits.day_readings
        return burns
