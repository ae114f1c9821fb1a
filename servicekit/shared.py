"""Work that several callers wait for and that one of them, giving up, does not end."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class SharedWork(Generic[Result]):
    """At most one run at a time; whoever asks meanwhile waits for the same one."""

    def __init__(self, name: str, work: Callable[[], Coroutine[Any, Any, Result]]) -> None:
        self._name, self._work = name, work
        self._task: asyncio.Task[Result] | None = None

    @property
    def is_running(self) -> bool:
        """True while a run is under way that can be joined."""
        return self._task is not None and not self._task.done()

    async def __call__(self) -> Result:
        """Starts the work, or joins the run that is under way. A caller's cancellation is its own affair."""
        if self._task is None or self._task.done():
            # A context of its own: the deadline and the request id of whoever asked first are not those of the others.
            self._task = asyncio.create_task(self._work(), name=self._name, context=contextvars.Context())
            self._task.add_done_callback(_noticed)
        return await asyncio.shield(self._task)


def _noticed(task: "asyncio.Task[Any]") -> None:
    # Every waiter may have gone: then nobody else asks for the outcome.
    if not task.cancelled():
        task.exception()
