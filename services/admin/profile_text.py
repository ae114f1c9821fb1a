"""Profiles as TOML text, in the form of docs/profiles.md: read into the contract's message, and written from one. Pure.

Reads what the command line reads. Here only the form is judged, everything wrong at once with its place; whether the
points keep their order on every night of the year is judged by the scheduler.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Sequence
from datetime import time
from decimal import Decimal
from typing import Any, Final

from domain.errors import FailedPrecondition, InvalidInput, Violation
from lichtbuch.scheduler.v1 import scheduler_pb2 as pb
from lichtbuch.type.v1 import types_pb2

MAX_BYTES: Final = 100_000
_FILE: Final = frozenset({"name", "points", "rules"})
_MOMENT: Final = frozenset({"anchor", "offset_s", "time", "earliest", "latest", "elevation_deg", "rising"})
_POINT: Final = _MOMENT | {"level", "level_permille", "ramp_s"}
_RULE: Final = frozenset(
    {"kind", "operation", "value", "value_permille", "factor", "on", "off", "hold_s", "ramp_s", "sensor"}
    | {"begin", "end"}
)
_TWILIGHT_MILLI: Final = (35_000, 25_000)
"""On and off of daylight where nothing else is said, as docs/profiles.md has it."""
_INT32: Final = 2**31
_LEVELS: Final = {"on": "100", "full": "100", "off": "0"}
_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?")


def _words(names: Iterable[str], prefix: str) -> dict[str, int]:
    plain = [name.removeprefix(prefix).lower().replace("_", " ") for name in names]
    return {word: number for number, word in enumerate(plain) if number}


_ANCHORS: Final = _words(pb.Anchor.keys(), "ANCHOR_")
_KINDS: Final = _words(types_pb2.SensorKind.keys(), "SENSOR_KIND_")
_OPERATIONS: Final = _words(types_pb2.SensorOperation.keys(), "SENSOR_OPERATION_")


# --- reading ---------------------------------------------------------------------------------------------------------


def profile_from_text(text: str, municipality: str) -> pb.Profile:
    """The profile that a text describes; municipality: name, for the names of sensors.

    Raises InvalidInput with all that is wrong in it, by the paths of the text: "points[2].level".
    """
    if len(text.encode()) > MAX_BYTES:
        raise InvalidInput.of("file", f"is larger than {MAX_BYTES} bytes")
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidInput.of("file", str(error)) from error
    wrong: list[Violation] = []
    head = _Table("file", document, _FILE, wrong)
    profile = pb.Profile(
        display_name=head.text("name"),
        points=[_point(table) for table in head.tables("points", _POINT, wrong)],
        rules=[_rule(table, municipality) for table in head.tables("rules", _RULE, wrong)],
    )
    if not profile.points and not wrong:
        wrong.append(Violation("points", "at least one [[points]] is needed"))
    if wrong:
        raise InvalidInput("this is no valid profile", tuple(wrong))
    return profile


class _Table:
    """One table of the text. What is wrong in it is noted; something harmless stands in for it."""

    def __init__(self, path: str, table: Any, keys: frozenset[str], wrong: list[Violation]) -> None:
        self.path, self._wrong = path, wrong
        self.values: dict[str, Any] = table if isinstance(table, dict) else {}
        if not isinstance(table, dict):
            self.refuse("", "is no table")
        for unknown in sorted(self.values.keys() - keys):
            self.refuse(unknown, f"is unknown; there are {', '.join(sorted(keys))}")

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def refuse(self, key: str, reason: str) -> None:
        self._wrong.append(Violation(f"{self.path}.{key}" if key else self.path, reason))

    def tables(self, key: str, keys: frozenset[str], wrong: list[Violation]) -> list[_Table]:
        values = self.values.get(key, [])
        if not isinstance(values, list):
            self.refuse(key, f"is no list: write [[{key}]]")
            return []
        return [_Table(f"{key}[{index}]", value, keys, wrong) for index, value in enumerate(values)]

    def inner(self, key: str) -> _Table:
        return _Table(f"{self.path}.{key}", self.values[key], _MOMENT, self._wrong)

    def whole(self, key: str) -> int:
        value = self.values.get(key, 0)
        if isinstance(value, int) and not isinstance(value, bool) and -_INT32 <= value < _INT32:
            return value
        self.refuse(key, f"{value!r} is no whole number")
        return 0

    def number(self, key: str) -> float:
        value = self.values.get(key, 0)
        if isinstance(value, int | Decimal) and not isinstance(value, bool):
            found = Decimal(value)
            if found.is_finite() and -_INT32 < found < _INT32:
                return float(found)
        self.refuse(key, f"{value} is no number")
        return 0.0

    def thousandths(self, key: str, default: int = 0) -> int:
        value = self.values.get(key, Decimal(default) / 1000)
        if isinstance(value, int | Decimal) and not isinstance(value, bool):
            found = Decimal(value) * 1000
            if found.is_finite() and found == found.to_integral_value() and abs(found) < 1e12:
                return int(found)
        self.refuse(key, f"{value} is no number with at most three decimals")
        return 0

    def text(self, key: str) -> str:
        value = self.values.get(key, "")
        if isinstance(value, str):
            return value.strip()
        self.refuse(key, f"{value!r} is no text")
        return ""

    def flag(self, key: str) -> bool:
        value = self.values.get(key, False)
        if isinstance(value, bool):
            return value
        self.refuse(key, f"{value!r} is neither true nor false")
        return False

    def clock(self, key: str, *, seconds: bool = False) -> str:
        value = self.values.get(key, "")
        try:
            clock = value.replace(microsecond=0) if isinstance(value, time) else _clock(str(value))
        except ValueError:
            self.refuse(key, f"{value!r} is no clock time like 22:30")
            return ""
        if clock is None:
            return ""
        return clock.isoformat("seconds" if clock.second and seconds else "minutes")

    def word(self, key: str, words: dict[str, int]) -> int:
        value = str(self.values.get(key, "")).lower().replace("-", " ").replace("_", " ")
        if value in words:
            return words[value]
        self.refuse(key, f"{self.values.get(key)!r} is none of {', '.join(words)}")
        return 0

    def level(self, key: str) -> int:
        """Per mille, from percent under `key` or from per mille under `key`_permille; one of the two."""
        permille = f"{key}_permille"
        if (key in self) == (permille in self):
            self.refuse(key, f"give either {key} (percent) or {permille}")
            return 0
        return self.whole(permille) if permille in self else self._percent(key)

    def _percent(self, key: str) -> int:
        word = str(self.values[key]).strip().lower().removesuffix("%").replace(",", ".").strip()
        try:
            permille = round(float(_LEVELS.get(word, word)) * 10)
        except (ValueError, OverflowError):
            permille = -1
        if not 0 <= permille <= 1000:
            self.refuse(key, f"{str(self.values[key])!r} is no level; write percent, 0 to 100")
            return 0
        return permille


def _clock(text: str) -> time | None:
    """A clock time "HH:MM" or "HH:MM:SS". Raises ValueError."""
    if not text:
        return None
    if not _CLOCK.fullmatch(text):
        raise ValueError(text)
    return time.fromisoformat(text)


def _moment(table: _Table) -> dict[str, Any]:
    return {
        "anchor": table.word("anchor", _ANCHORS),
        "offset_s": table.whole("offset_s"),
        "clock_time": table.clock("time", seconds=True),
        "earliest": table.clock("earliest"),
        "latest": table.clock("latest"),
        "elevation_deg": table.number("elevation_deg"),
        "rising": table.flag("rising"),
    }


def _point(table: _Table) -> pb.SwitchPoint:
    return pb.SwitchPoint(**_moment(table), level_permille=table.level("level"), ramp_s=table.whole("ramp_s"))


def _rule(table: _Table, municipality: str) -> pb.SensorRule:
    kind, operation = table.word("kind", _KINDS), table.word("operation", _OPERATIONS)
    if kind == types_pb2.SENSOR_KIND_ILLUMINANCE:
        on, off = (table.thousandths(key, usual) for key, usual in zip(("on", "off"), _TWILIGHT_MILLI, strict=True))
    else:
        if "on" not in table:
            table.refuse("on", "is needed: from which value on the rule is active")
        on = table.thousandths("on")
        off = table.thousandths("off", on)
    if operation == types_pb2.SENSOR_OPERATION_MUL:
        if "factor" not in table or "value" in table or "value_permille" in table:
            table.refuse("factor", "is what the operation mul needs, and nothing else")
        value = table.thousandths("factor")
    else:
        if "factor" in table:
            table.refuse("factor", "belongs to the operation mul only")
        value = table.level("value")
    sensor = table.text("sensor")
    return pb.SensorRule(
        kind=types_pb2.SensorKind.ValueType(kind),
        operation=types_pb2.SensorOperation.ValueType(operation),
        value_permille=value,
        on_milli=on,
        off_milli=off,
        hold_s=table.whole("hold_s"),
        ramp_s=table.whole("ramp_s"),
        sensor=f"{municipality}/sensors/{sensor}" if sensor else "",
        begin=pb.NightMoment(**_moment(table.inner("begin"))) if "begin" in table else None,
        end=pb.NightMoment(**_moment(table.inner("end"))) if "end" in table else None,
    )


# --- writing ---------------------------------------------------------------------------------------------------------


def text_of_profile(profile: pb.Profile) -> str:
    """A profile as text; read again it is the same."""
    lines = [f"name = {_quoted(profile.display_name)}"] if profile.display_name else []
    for point in profile.points:
        lines += ["", "[[points]]", *_moment_pairs(point), f"level = {_tenths(point.level_permille)}"]
        lines += [f"ramp_s = {point.ramp_s}"] if point.ramp_s else []
    for rule in profile.rules:
        lines += ["", "[[rules]]", *_rule_pairs(rule)]
    return "\n".join(lines).strip() + "\n"


def _moment_pairs(moment: pb.SwitchPoint | pb.NightMoment) -> list[str]:
    pairs = [f"anchor = {_quoted(_word_of(_ANCHORS, moment.anchor))}"]
    pairs += [f"time = {_quoted(moment.clock_time)}"] if moment.clock_time else []
    if moment.anchor == pb.ANCHOR_SUN_ELEVATION:
        pairs += [f"elevation_deg = {float(moment.elevation_deg)!r}"]
        pairs += ["rising = true"] if moment.rising else []
    pairs += [f"offset_s = {moment.offset_s}"] if moment.offset_s else []
    pairs += [f"earliest = {_quoted(moment.earliest)}"] if moment.earliest else []
    pairs += [f"latest = {_quoted(moment.latest)}"] if moment.latest else []
    return pairs


def _rule_pairs(rule: pb.SensorRule) -> list[str]:
    pairs = [
        f"kind = {_quoted(_word_of(_KINDS, rule.kind))}",
        f"operation = {_quoted(_word_of(_OPERATIONS, rule.operation))}",
    ]
    if rule.operation == types_pb2.SENSOR_OPERATION_MUL:
        pairs.append(f"factor = {_plain(Decimal(rule.value_permille) / 1000)}")
    else:
        pairs.append(f"value = {_tenths(rule.value_permille)}")
    pairs += [f"on = {_plain(Decimal(rule.on_milli) / 1000)}", f"off = {_plain(Decimal(rule.off_milli) / 1000)}"]
    pairs += [f"hold_s = {rule.hold_s}"] if rule.hold_s else []
    pairs += [f"ramp_s = {rule.ramp_s}"] if rule.ramp_s else []
    pairs += [f"sensor = {_quoted(rule.sensor.rsplit('/', 1)[-1])}"] if rule.sensor else []
    for key in ("begin", "end"):
        if rule.HasField(key):
            pairs.append(f"{key} = {{ {', '.join(_moment_pairs(getattr(rule, key)))} }}")
    return pairs


def _word_of(words: dict[str, int], number: int) -> str:
    return next((word for word, value in words.items() if value == number), "")


def _quoted(text: str) -> str:
    """A basic string: TOML knows all of JSON's escapes that this writes."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _tenths(permille: int) -> str:
    return _plain(Decimal(permille) / 10)


def _plain(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def places(error: InvalidInput | FailedPrecondition) -> Sequence[str]:
    """What is wrong in a profile, each with its place; paths of the request are said as those of the text."""
    return [
        f"{violation.field.removeprefix('profile.')}: {violation.reason}" if violation.field else violation.reason
        for violation in error.violations
    ] or [error.message]
