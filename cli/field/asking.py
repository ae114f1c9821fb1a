"""Questions to the person at the terminal, answered by lines of standard input.

Read without a thread, and not by blocking the event loop: Ctrl-C has to end the command while it waits for an answer.
"""

from __future__ import annotations

import asyncio
import io
import os
import sys
from typing import Final

from cli.output import harmless, json_wanted, note

END: Final = "q"  # what the end of the input counts as
_YES: Final = ("y", "yes")


class Answers:
    """Lines of standard input. One for a command: what came with one line may belong to the next question."""

    def __init__(self) -> None:
        self._pending = b""

    async def ask(self, question: str) -> str:
        """The next line; `q` at the end of the input."""
        note(question)
        line = await self._line()
        return END if line is None else line

    async def agreed(self, question: str) -> bool:
        """Whether the next line says yes."""
        if json_wanted():
            note(question)
        else:
            print(harmless(f"{question} [y/N]: "), end="", file=sys.stderr, flush=True)
        line = None
        try:
            line = await self._line()
        finally:
            if (line is None or not sys.stdin.isatty()) and not json_wanted():
                print(file=sys.stderr)  # nobody typed a newline that the terminal would have shown
        return line is not None and line.lower() in _YES

    async def _line(self) -> str | None:
        """The next line without what surrounds it; None at the end of the input."""
        while b"\n" not in self._pending:
            data = await _data()
            if not data:
                rest, self._pending = self._pending.decode("utf-8", "replace").strip(), b""
                return rest or None
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode("utf-8", "replace").strip()


async def _data() -> bytes:
    try:
        descriptor = sys.stdin.fileno()
    except (io.UnsupportedOperation, ValueError, AttributeError):
        # No file: text in memory, or a standard input that was closed.
        return b"" if sys.stdin is None or sys.stdin.closed else sys.stdin.readline().encode()
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
    except OSError:
        return os.read(descriptor, 4096)  # a file is always ready
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
    return os.read(descriptor, 4096)
