"""Modbus RTU on a serial line: the port with its baud rate, parity and stop bits, and the silences between frames.

Source: MODBUS over Serial Line V1.02, 2.5.1.1: frames are parted by 3.5 characters of silence, above 19 200 baud by
1.75 ms. Where a frame ends its length says: USB adapters deliver bytes in lumps, and silence inside one proves nothing.
What a line has said too late is thrown away before the next request goes out.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from pathlib import Path
from typing import Any, Final

from fieldbus.faults import LinkDown
from fieldbus.modbus.line.link import Answer
from fieldbus.modbus.line.rtu_link import RtuLink
from fieldbus.url import Endpoint, Parity, SerialLine

try:
    import fcntl
    import termios
except ImportError:  # pragma: no cover - not on this platform
    termios = None  # type: ignore[assignment]

_FAST_BAUD: Final = 19_200
_FAST_SILENCE_S: Final = 0.00175
_SILENT_CHARACTERS: Final = 3.5
_AT_ONCE: Final = 1024


def character_s(line: SerialLine) -> float:
    """Seconds of one character: start bit, eight data bits, parity, stop bits."""
    return (9 + (line.parity is not Parity.NONE) + line.stop_bits) / line.baud


def silence_s(line: SerialLine) -> float:
    """Seconds of silence between two frames."""
    return _FAST_SILENCE_S if line.baud > _FAST_BAUD else _SILENT_CHARACTERS * character_s(line)


class SerialLink(RtuLink):
    """A serial port that nobody else uses meanwhile."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        assert endpoint.line is not None
        self._line = endpoint.line
        self._silence_s = silence_s(endpoint.line)
        self._character_s = character_s(endpoint.line)
        self._port: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._quiet_since = 0.0  # loop time of the last byte in either direction
        self._later: asyncio.TimerHandle | None = None

    @property
    def connected(self) -> bool:
        """See `ModbusLink.connected`."""
        return self._port is not None

    async def connect(self, timeout_s: float) -> None:
        """See `ModbusLink.connect`. Opening a port does not wait."""
        if termios is None:  # pragma: no cover - not on this platform
            raise LinkDown("serial lines need a POSIX system")
        loop = self._loop = asyncio.get_running_loop()
        path = self._endpoint.host
        _check_port(path)
        try:
            port = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise LinkDown(f"cannot open {path}: {error.strerror}") from None
        try:
            fcntl.flock(port, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _configure(port, self._line)
        except BlockingIOError:
            os.close(port)
            raise LinkDown(f"cannot open {path}: another program is using it") from None
        except (OSError, termios.error) as error:
            os.close(port)
            raise LinkDown(f"cannot set {path} to {self._line}: {error}") from None
        self._port = port
        self._quiet_since = loop.time()
        loop.add_reader(port, self._readable)

    def _done(self) -> Answer | None:
        """See `RtuLink._done`. What waits for the line to fall silent does not go out any more."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        return super()._done()

    def distrust(self) -> None:
        """The port stays open: what still comes is thrown away when the next request goes out."""
        self._lost("the line was cleared")

    def close(self) -> None:
        """See `ModbusLink.close`."""
        self._lost("the port was closed")
        port, self._port = self._port, None
        if port is not None:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(port)
            os.close(port)

    def _send(self, loop: asyncio.AbstractEventLoop, frame: bytes) -> float:
        """After the silence that parts frames. Written at once where the line has been silent long enough."""
        wait_s = self._quiet_since + self._silence_s - loop.time()
        if wait_s <= 0:
            self._write(frame)
            wait_s = 0.0
        else:
            self._later = loop.call_later(wait_s, self._write_later, frame)
        return wait_s + len(frame) * self._character_s

    def _write_later(self, frame: bytes) -> None:
        self._later = None
        loop = self._loop
        if self._answer is None or loop is None:
            return
        wait_s = self._quiet_since + self._silence_s - loop.time()
        if wait_s > 0:  # the line was not silent meanwhile
            self._later = loop.call_later(wait_s, self._write_later, frame)
            return
        try:
            self._write(frame)
        except LinkDown as error:
            self._broken(str(error))

    def _write(self, frame: bytes) -> None:
        """The buffers of a port hold many frames: one that does not fit means that the line is stuck."""
        port, loop = self._port, self._loop
        assert port is not None
        assert loop is not None
        with contextlib.suppress(OSError, termios.error):
            termios.tcflush(port, termios.TCIFLUSH)
        self._received.clear()
        try:
            written = os.write(port, frame)
        except OSError as error:
            self.close()
            raise LinkDown(f"cannot write to {self._endpoint.host}: {error.strerror}") from None
        if written != len(frame):
            self.close()
            raise LinkDown(f"{self._endpoint.host} takes no bytes: is the line held busy?")
        self._quiet_since = loop.time() + len(frame) * self._character_s

    def _readable(self) -> None:
        port, loop = self._port, self._loop
        if port is None or loop is None:
            return
        try:
            data = os.read(port, _AT_ONCE)
        except BlockingIOError:
            return
        except OSError as error:
            self._broken(f"cannot read from {self._endpoint.host}: {error.strerror}")
            return
        if not data:
            self._broken(f"{self._endpoint.host} was unplugged")
            return
        self._quiet_since = loop.time()
        if self._answer is None or self._later is not None:
            self.discarded += 1  # late, or noise; never the answer to what is not even sent
        else:
            self._took(data)

    def _broken(self, reason: str) -> None:
        self._lost(reason)
        self.close()


def _check_port(path: str) -> None:
    """Raises LinkDown for what is no serial port, before it is opened: that alone may do harm, for a watchdog of the
    machine begins to run, and a lock file of somebody's is locked."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise LinkDown(f"cannot open {path}: {error.strerror}") from None
    # Linux knows what drives a device; pseudo terminals are not listed there.
    kind = Path(f"/sys/dev/char/{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}/subsystem")
    if not stat.S_ISCHR(found.st_mode) or (kind.exists() and kind.resolve().name != "tty"):
        raise LinkDown(f"cannot open {path}: it is no serial port")


def _configure(port: int, line: SerialLine) -> None:
    """Raw bytes, eight bits, no flow control."""
    settings: list[Any] = termios.tcgetattr(port)
    speed = getattr(termios, f"B{line.baud}", None)
    if speed is None:
        raise OSError(f"{line.baud} baud is not known to this system")
    mode = termios.CS8 | termios.CREAD | termios.CLOCAL
    if line.parity is not Parity.NONE:
        mode |= termios.PARENB
    if line.parity is Parity.ODD:
        mode |= termios.PARODD
    if line.stop_bits == 2:
        mode |= termios.CSTOPB
    settings[0] = termios.INPCK if line.parity is not Parity.NONE else 0
    settings[1] = 0
    settings[2] = mode
    settings[3] = 0
    settings[4] = settings[5] = speed
    settings[6][termios.VMIN] = 1  # nothing there is then told apart from unplugged
    settings[6][termios.VTIME] = 0
    termios.tcsetattr(port, termios.TCSANOW, settings)
    termios.tcflush(port, termios.TCIOFLUSH)
