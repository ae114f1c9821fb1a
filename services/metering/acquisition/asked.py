"""What catch-up has asked for already, remembered over the process's end. Asking is catch_up.py's."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from services.metering.acquisition.target import Target

_log = logging.getLogger(__name__)

_SCHEMA: Final = 1


class Asked:
    """What was asked for already, in a local file: of each register until which slot, and what keeps no history."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._asked: dict[str, int] = {}
        self._without: dict[str, str] = {}
        self._is_saved = True
        self._read()

    def asked_until(self, target: Target) -> int:
        """The newest slot of a register whose past was asked for; 0 for none."""
        return self._asked.get(target.life_uid, 0)

    def has_history(self, endpoint_uid: str, described: str) -> bool:
        """False where an endpoint has said that it keeps none of these points."""
        return self._without.get(endpoint_uid) != described

    def note(self, asked: Mapping[str, int], endpoint_uid: str = "", without: str = "") -> None:
        """Remembers, until the process ends; `save` for longer."""
        self._asked.update(asked)
        if without:
            self._without[endpoint_uid] = without
        self._is_saved = False

    async def save(self) -> None:
        """Writes down what was noted, if anything was. A disk that fails costs a question asked twice."""
        if self._is_saved:
            return
        self._is_saved = True
        await asyncio.to_thread(self._write, dict(self._asked), dict(self._without))

    def _write(self, asked: Mapping[str, int], without: Mapping[str, str]) -> None:
        body = json.dumps({"schema": _SCHEMA, "asked": asked, "without": without})
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial = self._path.with_name(self._path.name + ".tmp")
            partial.write_text(body, encoding="utf-8")
            os.replace(partial, self._path)
        except OSError as error:
            _log.warning("what was caught up is not remembered: %s", error)

    def keep_only(self, targets: Sequence[Target]) -> None:
        """Forgets registers and endpoints that are gone."""
        lives, endpoints = {target.life_uid for target in targets}, {target.endpoint_uid for target in targets}
        self._asked = {uid: slot for uid, slot in self._asked.items() if uid in lives}
        self._without = {uid: what for uid, what in self._without.items() if uid in endpoints}

    def _read(self) -> None:
        try:
            document = json.loads(self._path.read_text(encoding="utf-8"))
            if document["schema"] == _SCHEMA:
                self._asked = {str(uid): int(slot) for uid, slot in document["asked"].items()}
                self._without = {str(uid): str(what) for uid, what in document["without"].items()}
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            _log.warning("what was caught up before cannot be read: %s", error)
