"""Two serial ports joined by a cable: pseudo-terminals of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tty


class SerialPair:
    """What is written into `near` comes out of `far`, and the other way round."""

    def __init__(self) -> None:
        self._near, self._near_port = os.openpty()
        self._far, self._far_port = os.openpty()
        for port in (self._near_port, self._far_port):
            tty.setraw(port)
        self.near, self.far = os.ttyname(self._near_port), os.ttyname(self._far_port)
        self._joined = False

    def join(self) -> None:
        """Carry bytes from now on; in a running event loop."""
        if self._joined:
            return
        self._joined = True
        loop = asyncio.get_running_loop()
        for source, sink in ((self._near, self._far), (self._far, self._near)):
            os.set_blocking(source, False)
            loop.add_reader(source, self._carry, source, sink)

    def close(self) -> None:
        """Pull the cable."""
        loop = asyncio.get_running_loop()
        for port in (self._near, self._far):
            if self._joined:
                loop.remove_reader(port)
        for port in (self._near, self._far, self._near_port, self._far_port):
            os.close(port)

    @staticmethod
    def _carry(source: int, sink: int) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(sink, os.read(source, 4096))
