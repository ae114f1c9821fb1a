"""What became of the plans of a municipality in one pass: counted, reported, and what of it is to be stored."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from domain.errors import LichtbuchError
from domain.plan import Plan
from services.scheduler.metrics import PLANS
from services.scheduler.records import Assignment
from services.scheduler.store.assignments import Outcome

_log = logging.getLogger(__name__)

_MAX_REFUSAL: Final = 1000


@dataclass
class Report:
    """What a pass found. `refused`: reasons by name of the group, of refusals that stand from before too."""

    equal: int = 0
    put: int = 0
    refused: dict[str, str] = field(default_factory=dict)


class Outcomes:
    """Takes each outcome as it comes."""

    def __init__(self) -> None:
        self.report = Report()
        self.failures: list[LichtbuchError] = []
        self._news: dict[str, Outcome] = {}

    @property
    def rows(self) -> list[Outcome]:
        """What differs from what is stored already."""
        return list(self._news.values())

    def equal(self, assignment: Assignment, plan: Plan) -> None:
        """Lighting held the plan already."""
        self.report.equal += 1
        PLANS.labels("equal").inc()
        self._note(assignment, plan.valid_until, "", "")

    def put(self, assignment: Assignment, plan: Plan) -> None:
        """Lighting took the plan."""
        self.report.put += 1
        PLANS.labels("put").inc()
        self._note(assignment, plan.valid_until, "", "")

    def refused(self, group_name: str, assignment: Assignment, reason: str, key: str = "") -> None:
        """There is no new plan. key: what exactly lighting refused; empty where it was not even asked."""
        reason = reason if len(reason) <= _MAX_REFUSAL else reason[: _MAX_REFUSAL - 1] + "…"
        self.report.refused[group_name] = reason
        if self._note(assignment, assignment.planned_until, reason, key):
            PLANS.labels("refused").inc()
            _log.warning("there is no new plan for %s: %s", group_name, reason)

    def failed(self, error: LichtbuchError) -> None:
        """Nobody knows whether lighting took the plan: the next pass will see."""
        PLANS.labels("failed").inc()
        self.failures.append(error)

    def applied_to(self, assignments: Sequence[Assignment]) -> list[Assignment]:
        """Assignments as they are once `rows` are stored."""
        return [
            replace(
                assignment,
                planned_until=news.planned_until,
                refusal=news.refusal,
                refused_key=news.refused_key,
            )
            if (news := self._news.get(assignment.uid))
            else assignment
            for assignment in assignments
        ]

    def _note(self, assignment: Assignment, planned_until: datetime | None, refusal: str, key: str) -> bool:
        if (planned_until, refusal, key) == (assignment.planned_until, assignment.refusal, assignment.refused_key):
            return False
        self._news[assignment.uid] = Outcome(assignment.uid, assignment.version, planned_until, refusal, key)
        return True
