"""What the files in frames/ hold in common: a product, where its bytes or nodes come from, values, commands.

docs/adding-a-device.md says how to make one.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fieldbus.profile import Profile, Protocol
from fieldbus.profile_loader import load_profile
from fieldbus.values import PointAddress, Quality, ValueBatch, unix_ms
from fieldbus.vocabulary import PointType

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
    return Record(path, tomllib.loads(path.read_text(encoding="utf-8")))


def records(protocol: Protocol) -> list[Path]:
    return [path for path in FRAMES if record(path).profile.protocol is protocol]


def address(text: str) -> PointAddress:
    """`level_command/3` is the command of gear 3."""
    name, _, index = text.partition("/")
    return PointAddress(name, int(index) if index else None)


def writes(command: Mapping[str, Any]) -> list[tuple[PointAddress, float]]:
    return [(address(text), float(value)) for text, value in command["writes"].items()]


def check(batch: ValueBatch, expected: Record) -> None:
    """The batch holds what the file says: numbers, texts, "bad" for what must not be used, "uncertain" beside them."""
    uncertain = set(expected.content.get("uncertain", []))
    for row, (name, value) in enumerate(expected.values.items()):
        quality = Quality(int(batch.quality[row]))
        if value == "bad":
            assert quality is Quality.BAD, name
            assert math.isnan(batch.values[row]), name
            continue
        assert quality is (Quality.UNCERTAIN if name in uncertain else Quality.GOOD), name
        if expected.profile.points[batch.points[row].point].point.type is PointType.TEXT:
            assert batch.texts[row] == value, name
        else:
            assert batch.values[row] == pytest.approx(value, rel=1e-6), name
    times: dict[str, datetime] = expected.content.get("observed_at", {})
    rows = {name: row for row, name in enumerate(expected.values)}
    for name, instant in times.items():
        assert batch.observed_at[rows[name]] == unix_ms(instant), name
