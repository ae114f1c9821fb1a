"""A value that answers a question which somebody may change: another period, another day. What is old answers nothing.

Not here: values that need no question (feed.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from domain.errors import FailedPrecondition, InvalidInput
from services.admin.feed import Feed
from services.admin.told import reasons

Q = TypeVar("Q")
A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Answer(Generic[Q, A]):
    """What was said to a question; a service that finds the question wrong says so in words."""

    question: Q
    value: A | None
    refusal: str = ""


class Asked(Feed[Answer[Q, A]]):
    """The answer to the question that holds now, fetched every so often (real seconds)."""

    def __init__(
        self,
        service: str,
        question: Q,
        fetch: Callable[[Q], Awaitable[A]],
        every_s: float,
        real: Callable[[], datetime],
    ) -> None:
        super().__init__(service, self._answer, every_s, real)
        self.question = question
        self._ask_service = fetch
        self._asking: set[asyncio.Task[None]] = set()

    @property
    def answer(self) -> A | None:
        """What was answered to the question that holds; None while nobody has."""
        return self.value.value if self.is_answered and self.value else None

    @property
    def refusal(self) -> str:
        """Why the service finds the question wrong; empty where it does not."""
        return self.value.refusal if self.is_answered and self.value else ""

    @property
    def is_answered(self) -> bool:
        """True if what there is answers the question that holds."""
        return self.value is not None and self.value.question == self.question

    def ask(self, question: Q) -> None:
        """Another question holds from now on. Inside a running event loop."""
        if question == self.question:
            return
        self.question, self.problem = question, None
        self.version += 1
        self.fetch_soon()

    def fetch_soon(self) -> None:
        """Fetches anew, without waiting for it."""
        task = asyncio.create_task(self.refresh_anew(), name=f"ask {self.service}")
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _answer(self) -> Answer[Q, A]:
        question = self.question
        try:
            return Answer(question, await self._ask_service(question))
        except (InvalidInput, FailedPrecondition) as error:
            return Answer(question, None, "; ".join(reasons(error)))
