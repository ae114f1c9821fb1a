"""What the files in frames/ hold in common: a product, where its bytes or nodes come from, values, commands.

docs/adding-a-device.md says how to make one.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fieldbus.profile import Profile, Protocol
from fieldbus.profile_loader import PROFILES_DIRECTORY, load_profile, profile_names
from fieldbus.values import PointAddress, Quality, ValueBatch, from_unix_ms, unix_ms
from fieldbus.vocabulary import PointType

_HEADER = 6  # bytes of a frame up to and with its length
_REGISTER_READS = (3, 4)
_READS = (1, 2, *_REGISTER_READS)

FRAMES = sorted((Path(__file__).parent / "frames").glob("*.toml"))


@dataclass(frozen=True)
class Record:
    """One file."""

    path: Path
    content: dict[str, Any]

    @property
    def profile(self) -> Profile:
        return load_profile(self.content["profile"])

    @property
    def values(self) -> dict[str, float | str]:
        return dict(self.content.get("values", {}))

    @property
    def commands(self) -> list[dict[str, Any]]:
        return list(self.content.get("command", []))


@cache
def record(path: Path) -> Record:
    """A file, its frames as long as they say. Raises ValueError with what is wrong."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path.name}: {error}") from None
    for holder in (content, *content.get("command", [])):
        for number, exchange in enumerate(holder.get("exchange", []), start=1):
            reason = wrong_length(exchange["request"], exchange["answer"])
            if reason:
                raise ValueError(f"{path.name}: exchange {number}: {reason}")
    return Record(path, content)


def wrong_length(request: str, answer: str) -> str:
    """Why a request and its answer, in hexadecimal digits, cannot be whole frames of Modbus TCP; "" if they can."""
    try:
        frames = {"request": bytes.fromhex(request), "answer": bytes.fromhex(answer)}
    except ValueError as error:
        return str(error)
    for name, frame in frames.items():
        if len(frame) < _HEADER + 2:
            return f"the {name} has {len(frame)} bytes, which is no frame"
        said = int.from_bytes(frame[4:_HEADER], "big")
        if said != len(frame) - _HEADER:
            return f"the {name} says that {said} bytes follow byte 6 (in bytes 5 and 6), and {len(frame) - _HEADER} do"
    asked, answered = frames["request"], frames["answer"]
    if answered[7] not in _READS or len(asked) != _HEADER + 6:
        return ""
    count = int.from_bytes(asked[10:12], "big")
    needed = 2 * count if answered[7] in _REGISTER_READS else (count + 7) // 8
    if (answered[8:9], len(answered) - 9) == (bytes((needed & 0xFF,)), needed):
        return ""
    return (
        f"{count} were asked for, which are {needed} bytes; byte 9 says {answered[8]}, and {len(answered) - 9} follow"
    )


def files(protocol: Protocol) -> list[Path]:
    """The files of a protocol, told by their text: a broken one fails in its own tests, not in the collection."""
    return [path for path in FRAMES if ("[[node]]" in _lines(path)) == (protocol is Protocol.OPCUA)]


def commands_in(path: Path) -> int:
    """How many commands a file has, told by its text."""
    return _lines(path).count("[[command]]")


def shipped(protocol: Protocol, kind: str = "") -> list[str]:
    """The shipped profiles of a protocol, and of a kind, told by their text as the files are."""

    def says(name: str, key: str, value: str) -> bool:
        text = (PROFILES_DIRECTORY / f"{name}.toml").read_text(encoding="utf-8", errors="replace")
        return re.search(rf'^{key}\s*=\s*"{value}"', text, re.MULTILINE) is not None

    return [
        name for name in profile_names() if says(name, "protocol", protocol.value) and says(name, "kind", kind or ".*")
    ]


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]


def address(text: str) -> PointAddress:
    """`level_command/3` is the command of gear 3."""
    name, _, index = text.partition("/")
    return PointAddress(name, int(index) if index else None)


def writes(command: Mapping[str, Any]) -> list[tuple[PointAddress, float]]:
    return [(address(text), float(value)) for text, value in command["writes"].items()]


def check(batch: ValueBatch, expected: Record) -> None:
    """The batch holds what the file says: numbers, texts, "bad" for what must not be used, "uncertain" beside them."""
    wrong = list(differences(batch, expected))
    if wrong:
        pytest.fail("\n".join([f"{expected.path.name}:", *wrong]), pytrace=False)


def differences(batch: ValueBatch, expected: Record) -> Iterator[str]:
    """`voltage_l1: 230.12 read, 231.0 expected` for every value that is not as the file says."""
    uncertain = set(expected.content.get("uncertain", []))
    times: dict[str, datetime] = expected.content.get("observed_at", {})
    for row, (name, value) in enumerate(expected.values.items()):
        quality = Quality(int(batch.quality[row]))
        is_text = expected.profile.points[batch.points[row].point].point.type is PointType.TEXT
        read: float | str = batch.texts[row] if is_text else float(batch.values[row])
        wanted = Quality.BAD if value == "bad" else Quality.UNCERTAIN if name in uncertain else Quality.GOOD
        shown = repr(read) if is_text else f"{read:.12g}"
        if quality is not wanted:
            yield f"{name}: {shown} read, quality {quality.name}; {value!r} expected, quality {wanted.name}"
        elif wanted is Quality.BAD:
            if not math.isnan(batch.values[row]):
                yield f"{name}: {batch.values[row]:.12g} read beside the quality BAD, no number expected"
        elif read != value if is_text or isinstance(value, str) else read != pytest.approx(value, rel=1e-6):
            yield f"{name}: {shown} read, {value!r} expected"
        if name in times and batch.observed_at[row] != unix_ms(times[name]):
            seen = from_unix_ms(int(batch.observed_at[row])).isoformat()
            yield f"{name}: of {seen}, {times[name].isoformat()} expected"


def check_requests(made: Sequence[bytes], exchanges: Sequence[Mapping[str, str]]) -> None:
    """The requests are those of the file, else all of both are shown, ready to be pasted."""
    expected = [bytes.fromhex(exchange["request"]) for exchange in exchanges]
    if list(made) == expected:
        return
    lines = ["these requests were made:"]
    lines += [f'request = "{frame.hex(" ")}"' for frame in made]
    lines += ["and the file has:"]
    lines += [f'request = "{frame.hex(" ")}"' for frame in expected]
    pytest.fail("\n".join(lines), pytrace=False)
