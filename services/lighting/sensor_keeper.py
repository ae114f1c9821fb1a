"""Keeps what sensors said: in the database for every replica, and in a local file for a restart without it.

The file also keeps the conditions: whether a value between two thresholds came from above or below. It is written every
half minute at most, and at the end: what is lost by a crash is half a minute of a traffic count.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from sqlmodel import Session

from domain.errors import LichtbuchError, Unavailable
from domain.plan import to_unix_ms
from domain.plan_rule import SensorKind
from domain.sensing import Condition, SensorView, Thresholds
from servicekit.clock import Clock
from servicekit.database import Database
from services.lighting.sensors import SensorBoard, SensorValue
from services.lighting.store.revisions import revisions
from services.lighting.store.sensors import SENSED, put_values, stored_values

_log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 1.0
"""Real seconds between two looks at what other replicas were told."""
KEEP_EVERY_S: Final = 30.0
"""Real seconds between two times that what was read in the field is kept."""
_SCHEMA: Final = "lichtbuch-lighting-sensors/1"


class SensorFile:
    """The local file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def save(self, views: Mapping[str, SensorView]) -> None:
        """Writes all that is known. Raises OSError."""
        sensors = {
            uid: [
                view.value_milli,
                view.at_ms,
                [[*thresholds, *known] for thresholds, known in view.conditions.items()],
            ]
            for uid, view in views.items()
        }
        temporary = self._path.with_suffix(".new")
        temporary.write_text(json.dumps({"schema": _SCHEMA, "sensors": sensors}), encoding="utf-8")
        os.replace(temporary, self._path)

    def load(self) -> tuple[list[SensorValue], dict[str, dict[Thresholds, Condition]]]:
        """Last values, and conditions by uid; nothing where there is no file, or none that can be read: sensors speak
        again soon."""
        try:
            body: Any = json.loads(self._path.read_text(encoding="utf-8"))
            if body["schema"] != _SCHEMA:
                return [], {}
            values, conditions = [], {}
            for uid, (value_milli, at_ms, known) in body["sensors"].items():
                values.append(SensorValue(str(uid), int(value_milli), int(at_ms)))
                conditions[str(uid)] = {
                    Thresholds(SensorKind(kind), int(on), int(off)): Condition(bool(holds), int(ended))
                    for kind, on, off, holds, ended in known
                }
        except FileNotFoundError:
            return [], {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            _log.warning("%s cannot be read, sensors begin anew: %s", self._path.name, error)
            return [], {}
        return values, conditions


class SensorKeeper:
    """Moves values between the board, the database and the file."""

    def __init__(
        self,
        board: SensorBoard,
        database: Database,
        clock: Clock,
        file: SensorFile | None,
        *,
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        """Without a file this process keeps none. ready: whether the database has its schema."""
        self.board, self._database, self._clock, self._file, self._ready = board, database, clock, file, ready
        self._revision = -1
        self._kept: Mapping[str, SensorView] = {}
        self._waited_s = 0.0
        self._failed = False

    async def start(self) -> None:
        """Takes what an earlier run kept."""
        if self._file is None:
            return
        values, conditions = await asyncio.to_thread(self._file.load)
        self.board.remember(conditions)
        self.board.take(values, self._now_ms)

    async def keep(self, beat: Callable[[], None]) -> None:
        """The loop, for ever."""
        while True:
            await self.look()
            self._waited_s += LOOK_EVERY_S
            if self._waited_s >= KEEP_EVERY_S:
                await self.store()
            beat()
            await self._clock.sleep_real(LOOK_EVERY_S)

    async def look(self) -> None:
        """Takes what other replicas were told."""
        if not self._ready():
            return

        def ask(session: Session) -> tuple[int, list[SensorValue]]:
            revision = revisions(session).get(SENSED, 0)
            return revision, stored_values(session) if revision != self._revision else []

        try:
            self._revision, values = await self._database.read(ask)
        except LichtbuchError as error:
            self._fail(error)
            return
        self._failed = False
        self.board.take(values, self._now_ms)

    async def put(self, values: list[SensorValue]) -> None:
        """Stores values for all replicas. Raises Unavailable where the database is away."""
        if not self._ready():
            raise Unavailable("the database has not been there yet")
        now_ms = self._now_ms
        await self._database.run(lambda session: put_values(session, values, now_ms))

    async def store(self) -> None:
        """Keeps what is on the board, in the database and in the file."""
        self._waited_s = 0.0
        views, kept = self.board.views, self._kept
        if views is kept:
            return
        news = [
            SensorValue(uid, view.value_milli, view.at_ms) for uid, view in views.items() if view is not kept.get(uid)
        ]
        try:
            await self.put(news)
        except LichtbuchError as error:
            self._fail(error)
        if self._file is not None:
            try:
                await asyncio.to_thread(self._file.save, views)
            except OSError as error:
                _log.error("what sensors said cannot be kept in the file: %s", error)
                return
        self._kept = views

    @property
    def _now_ms(self) -> int:
        return to_unix_ms(self._clock.now())

    def _fail(self, error: LichtbuchError) -> None:
        if not self._failed:
            _log.warning("the database is away, sensors are heard all the same: %s", error)
        self._failed = True
