"""Records what a device on Modbus TCP answers to its profile, as a file for tests/fieldbus/frames/.

    python tools/record_frames.py modbus+tcp://host?unit=1 PROFILE [POINT[/INDEX] ...] > tests/fieldbus/frames/NAME.toml

PROFILE is a shipped name or a file. Without points all points of the device are read, and those of index 0. The values
are those that our own code made of the bytes: check them against the device's display before they become a test.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from domain.errors import InvalidInput, LichtbuchError, Unavailable
from fieldbus.client import Fieldbus
from fieldbus.profile import Profile
from fieldbus.profile_loader import load_profile, load_profile_file
from fieldbus.values import PointAddress, Quality, ValueBatch
from fieldbus.vocabulary import PointType, Scope

Exchange = tuple[bytes, bytes]
_HEADER = 6  # bytes of a Modbus TCP frame up to and with its length
_ROW = 32  # bytes in one line of the file


class Recorder:
    """Stands between us and a device and keeps each request with its answer."""

    def __init__(self, host: str, port: int) -> None:
        self.exchanges: list[Exchange] = []
        self.asked = 0
        self.failure = ""  # why the device could not be reached
        self._tasks: set[asyncio.Task[None]] = set()
        self._target = (host, port)
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listens on loopback; the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Listens no longer, and hangs up."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def check_complete(self) -> None:
        """Raises Unavailable, with what to look at, unless every request has its answer."""
        host, port = self._target
        if self.failure:
            raise Unavailable(f"{host}:{port} cannot be reached: {self.failure}; is the device on, and the port right?")
        if not self.exchanges:
            raise Unavailable(f"nothing answered at {host}:{port}: is unit=... the device's own, and is it connected?")
        if len(self.exchanges) < self.asked:
            missing = self.asked - len(self.exchanges)
            raise Unavailable(f"{missing} of {self.asked} requests had no answer: try again, or name fewer points")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        device_writer: asyncio.StreamWriter | None = None
        try:
            device_reader, device_writer = await asyncio.open_connection(*self._target)
            while True:
                request = await _frame(reader)
                self.asked += 1
                device_writer.write(request)
                answer = await _frame(device_reader)
                self.exchanges.append((request, answer))
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionResetError, BrokenPipeError, asyncio.CancelledError):
            pass
        except OSError as error:
            self.failure = error.strerror or str(error)
        finally:
            self._tasks.discard(task)
            if device_writer is not None:
                device_writer.close()
            writer.close()


async def _frame(reader: asyncio.StreamReader) -> bytes:
    header = await reader.readexactly(_HEADER)
    return header + await reader.readexactly(int.from_bytes(header[4:6], "big"))


async def record(url: str, profile: Profile, points: list[PointAddress]) -> str:
    """The file's text. Raises LichtbuchError for a wrong URL or point, Unavailable when answers are missing."""
    parts = urlsplit(url)
    recorder = Recorder(parts.hostname or "", parts.port or 502)
    port = await recorder.start()
    bus = Fieldbus(now=lambda: datetime.now(UTC))
    try:
        device = bus.open(urlunsplit(parts._replace(netloc=f"127.0.0.1:{port}")), profile)
        batch = await device.read(points)
    finally:
        await bus.close()
        await recorder.stop()
    recorder.check_complete()
    return text(profile, recorder.exchanges[0][0][6], recorder.exchanges, batch)


def all_points(profile: Profile) -> list[PointAddress]:
    """All points of the device, and of the first gear, group, line and channel."""
    found = list(profile.device_points)
    for scope in (Scope.LINE, Scope.GROUP, Scope.GEAR, Scope.CHANNEL):
        found += profile.indexed_points(scope, 0)
    return found


def text(profile: Profile, unit: int, exchanges: list[Exchange], batch: ValueBatch) -> str:
    """A record in the format of tests/fieldbus/frames/."""
    lines = [f'profile = "{profile.name}"', 'source = "recorded from TYPE, firmware VERSION"', f"unit = {unit}"]
    for request, answer in exchanges:
        lines += ["", "[[exchange]]", _hex("request", request), _hex("answer", answer)]
    lines += ["", "[values]"]
    for row, address in enumerate(batch.points):
        name = address.point if address.index is None else f"{address.point}/{address.index}"
        lines.append(f'"{name}" = {_value(profile, batch, row)}')
    return "\n".join(lines) + "\n"


def _value(profile: Profile, batch: ValueBatch, row: int) -> str:
    if batch.quality[row] in (Quality.BAD, Quality.MISSING):
        return '"bad"'
    if profile.points[batch.points[row].point].point.type is PointType.TEXT:
        return json.dumps(batch.texts[row])
    value = float(batch.values[row])
    return str(int(value)) if value.is_integer() else f"{value:.9g}"


def _hex(key: str, frame: bytes) -> str:
    if len(frame) <= _ROW:
        return f'{key} = "{frame.hex(" ")}"'
    rows = [frame[at : at + _ROW].hex(" ") for at in range(0, len(frame), _ROW)]
    return "\n".join([f'{key} = """', *rows, '"""'])


def address_of(name: str) -> PointAddress:
    """`level_command/3` is the command of gear 3."""
    point, _, index = name.partition("/")
    if index and not index.isdecimal():
        raise InvalidInput.of("point", f"'{name}' has an index that is no number: level_command/3 is gear 3's")
    return PointAddress(point, int(index) if index else None)


def main(arguments: list[str]) -> None:
    """Print a record, or say what is wrong and fail."""
    if len(arguments) < 2 or not arguments[0].startswith("modbus+tcp://"):
        raise SystemExit(__doc__)
    url, name, *points = arguments
    try:
        profile = load_profile_file(Path(name)) if name.endswith(".toml") else load_profile(name)
        print(asyncio.run(record(url, profile, [address_of(point) for point in points] or all_points(profile))), end="")
    except (LichtbuchError, OSError) as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main(sys.argv[1:])
