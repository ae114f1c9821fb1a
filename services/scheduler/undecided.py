"""Groups whose calendar asks for holidays that nobody has told: counted, and said once, over all municipalities."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence, Set

from services.scheduler.metrics import UNDECIDED

_log = logging.getLogger(__name__)


class Undecided:
    """What was last seen of each municipality."""

    def __init__(self) -> None:
        self._seen: dict[str, Mapping[str, Sequence[str]]] = {}

    def note(self, municipality_uid: str, warnings: Mapping[str, Sequence[str]]) -> None:
        """Takes the warnings of a municipality's groups, by the name of the group; those without need not be in it.

        A warning counts nights, so its text changes each day: only a group that had none before is told of.
        """
        before = self._seen.get(municipality_uid, {})
        now = {name: found for name, found in warnings.items() if found}
        for name in now.keys() - before.keys():
            _log.warning("the calendar of %s cannot decide some nights ahead: %s", name, "; ".join(now[name]))
        for name in before.keys() - now.keys():
            _log.info("the calendar of %s decides every night ahead again", name)
        self._seen[municipality_uid] = now
        self._tell()

    def keep_only(self, municipality_uids: Set[str]) -> None:
        """Forgets municipalities that are no more."""
        self._seen = {uid: seen for uid, seen in self._seen.items() if uid in municipality_uids}
        self._tell()

    def _tell(self) -> None:
        UNDECIDED.set(sum(map(len, self._seen.values())))
