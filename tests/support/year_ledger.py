"""Adds up nights of a stepped town, and says how far the simulator, lighting's history, the almanac and the preview are
apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from lichtbuch.scheduler.v1.preview_pb2 import GroupPreview
from tests.support.almanac import DAY, Street, disagreements, level_s, lit_s, noon, seen_level_s
from tests.support.stepped_town import COARSE_S, SteppedTown
from tests.support.town_year import switching
from tests.support.witness import Span

Floats = NDArray[np.float64]


@dataclass
class Sums:
    """Of nights that were lived through, per lamp in the order of the town."""

    town: SteppedTown
    streets: list[Street]
    burning_s: Floats = field(init=False)
    energy_wh: Floats = field(init=False)
    due_s: Floats = field(init=False)
    history_s: Floats = field(init=False)
    known_s: Floats = field(init=False)
    history_wh: Floats = field(init=False)
    level_s: dict[str, dict[int, float]] = field(default_factory=dict)
    due_level_s: dict[str, dict[int, float]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    lit_at_noon: list[str] = field(default_factory=list)
    wrong_feeders: list[str] = field(default_factory=list)
    nights: int = 0
    changes: int = 0
    ids: list[str] = field(init=False)
    _asked_until: datetime = field(init=False)

    def __post_init__(self) -> None:
        lamps = self.town.town.luminaires
        self.ids = [lamp.id for lamp in lamps]
        for name in ("burning_s", "energy_wh", "due_s", "history_s", "known_s", "history_wh"):
            setattr(self, name, np.zeros(len(lamps)))
        self._asked_until = self.town.clock.now()

    async def live(self, night: date) -> Span:
        """Goes through a night, from noon to noon, and judges it."""
        town, sun = self.town, self.streets[0].steps(night)
        await town.to(sun[0][0] + timedelta(minutes=2), switching(self.streets, night))
        self._look_at_feeders(True)
        await town.to(noon(night + DAY), switching(self.streets, night))
        self._look_at_feeders(False)
        span = town.witness.take()
        self._judge(span, night)
        return span

    def _judge(self, span: Span, night: date) -> None:
        end = noon(night + DAY)
        self.burning_s += span.burning_s
        self.energy_wh += span.energy_wh
        self.nights += 1
        self.changes += span.instants.size
        for row in np.flatnonzero((span.levels[0] > 0) | (span.levels[-1] > 0)).tolist():
            self.lit_at_noon.append(f"{self.ids[row]} in the night of {night}")
        for street in self.streets:
            steps = street.steps(night)
            self.wrong += disagreements(span, street, steps, self.ids)
            self.due_s[street.rows] += lit_s(steps, end)
            due = level_s(steps, end)
            _add(self.due_level_s.setdefault(street.name, {}), {k: v * street.rows.size for k, v in due.items()})
            _add(self.level_s.setdefault(street.name, {}), seen_level_s(span, street, list(due)))

    def _look_at_feeders(self, night: bool) -> None:
        """By night every feeder is energised, by day only permanent ones are."""
        for feeder in self.town.town.feeders:
            live = self.town.simulator.world.cabinets[feeder.cabinet].feeder_live(feeder)
            if live != (night or feeder.channel < 0):
                self.wrong_feeders.append(f"{feeder.id} at {self.town.clock.now()}: energised is {live}")

    async def ask_history(self, until: datetime) -> None:
        """Adds what lighting's own history says, from where it was asked last until an instant that has passed."""
        if self.town.clock.now() < until + timedelta(seconds=2 * COARSE_S):
            await self.town.to(until + timedelta(seconds=1.1 * COARSE_S))
        found = await self.town.burning_s(self._asked_until, until)
        for row, identity in enumerate(self.ids):
            lit, known, energy_mwh = found[identity]
            self.history_s[row] += lit
            self.known_s[row] += known
            self.history_wh[row] += energy_mwh / 1000
        self._asked_until = until

    # --- how far apart --------------------------------------------------------------------------------------------

    def worst(self, name: str) -> float:
        """The largest share by which a lamp's burning hours differ from the almanac's."""
        found: Floats = getattr(self, name)
        return float(np.abs(found / self.due_s - 1).max())

    def worst_of_preview(self, previews: dict[str, GroupPreview]) -> dict[str, float]:
        """The largest share by which a group's burning hours, energy and hours per level differ from the preview's."""
        worst = {"burning hours": 0.0, "energy": 0.0, "hours per level": 0.0}
        for street in self.streets:
            told = previews[street.name]
            pairs = [
                ("burning hours", told.previewed.lit_luminaire_seconds, float(self.burning_s[street.rows].sum())),
                ("energy", told.previewed.energy_wh, float(self.energy_wh[street.rows].sum())),
            ]
            shown = dict(zip(told.shown_levels_permille, told.shown_luminaire_seconds, strict=True))
            shown.pop(0, None)
            seen = self.level_s[street.name]
            assert shown.keys() == seen.keys(), (street.name, shown, seen)
            pairs += [("hours per level", shown[level], seen[level]) for level in shown]
            for what, preview, truth in pairs:
                worst[what] = max(worst[what], abs(truth / preview - 1))
        return worst


def _add(to: dict[int, float], more: dict[int, float]) -> None:
    for level, seconds in more.items():
        to[level] = to.get(level, 0.0) + seconds
