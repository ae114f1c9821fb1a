"""What a person declares of a file of readings: by options, and by a mapping in TOML for what has many series.

Pure but for reading the mapping. What is not declared is looked for in the file; what would shift or scale every value
unseen (the stamp of intervals, the unit) is never guessed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from cli.importing.readings.known import Status
from domain.errors import InvalidInput, Violation

LAYOUTS: Final = ("long", "wide", "mscons")
VALUES: Final = ("counter", "interval", "state")
MAX_MAPPING_BYTES: Final = 10 << 20
_QUALITIES: Final[Mapping[str, Status]] = {
    "": Status.MEASURED,
    "actual": Status.MEASURED,
    "a": Status.MEASURED,
    "measured": Status.MEASURED,
    "valid": Status.MEASURED,
    "ok": Status.MEASURED,
    "good": Status.MEASURED,
    "w": Status.MEASURED,
    "wahrer wert": Status.MEASURED,
    "gemessen": Status.MEASURED,
    "estimated": Status.ESTIMATED,
    "estimate": Status.ESTIMATED,
    "e": Status.ESTIMATED,
    "geschätzt": Status.ESTIMATED,
    "substituted": Status.SUBSTITUTED,
    "ersatzwert": Status.ESTIMATED,
    "provisional": Status.ESTIMATED,
    "vorläufig": Status.ESTIMATED,
    "v": Status.ESTIMATED,
    "doubtful": Status.DOUBTFUL,
    "hand": Status.HAND,
    "edited": Status.EDITED,
    "gap": Status.GAP,
    "missing": Status.GAP,
    "fehlend": Status.GAP,
}
STATUS_WORDS: Final = tuple(status.name.lower() for status in Status)


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a file, by what the file calls it, and the meter that it is.

    name: what the column of meters, the MPAN or the location (MSCONS, LOC 172) says. column: the column (or the prefix
    of the columns of a day) of its values. obis: its register. Those that are given have to fit. What it declares of
    unit, values that are missing and so on goes before what is declared of the file.
    """

    name: str = ""
    column: str = ""
    obis: str = ""
    meter: str = ""
    unit: str = ""
    values: str = ""
    stamp: str = ""
    step: str = ""
    missing: tuple[str, ...] | None = None
    skip: bool = False


@dataclass(frozen=True, slots=True)
class Declared:
    """What is declared of a file; empty where nothing is. See docs/importing.md for each."""

    layout: str = ""
    meter: str = ""
    meter_column: str = ""
    date_column: str = ""
    time_column: str = ""
    value_column: str = ""
    quality_column: str = ""
    unit_column: str = ""
    unit: str = ""
    values: str = ""
    stamp: str = ""
    step: str = ""
    first_ends: str = ""
    time_zone: str = ""
    time_format: str = ""
    decimal: str = ""
    encoding: str = ""
    header_line: int = 0
    missing: tuple[str, ...] = ()
    tolerance_s: int = 0
    quality_words: Mapping[str, Status] = field(default_factory=dict)
    series: tuple[Series, ...] = ()

    def quality(self, text: str) -> Status | None:
        """What a word of the quality column means; None for a word that nobody knows."""
        plain = text.strip().casefold()
        return self.quality_words.get(plain, _QUALITIES.get(plain))

    def with_options(self, **given: Any) -> Declared:
        """With what the options say, which win over the mapping; empty ones say nothing."""
        return check(replace(self, **{name: value for name, value in given.items() if value}))


def check(declared: Declared) -> Declared:
    """The same. Raises InvalidInput that names every declaration that makes no sense."""
    wrong: list[Violation] = []
    for name, allowed in (
        ("layout", LAYOUTS),
        ("values", VALUES),
        ("stamp", ("start", "end")),
        ("decimal", (".", ",")),
    ):
        told = getattr(declared, name)
        if told and told not in allowed:
            wrong.append(Violation(name, f"{told!r} is none of {', '.join(allowed)}"))
    if declared.header_line < 0:
        wrong.append(Violation("header_line", "lines are counted from 1"))
    if not 0 <= declared.tolerance_s <= 450:
        wrong.append(Violation("tolerance", "0 to 450 s: half a quarter hour"))
    for number, series in enumerate(declared.series, start=1):
        if not (series.name or series.column or series.obis):
            wrong.append(Violation(f"series {number}", "says neither name, column nor obis"))
        if not series.meter and not series.skip and not series.column and not series.name:
            wrong.append(Violation(f"series {number}", "says no meter"))
        if series.values and series.values not in VALUES:
            wrong.append(Violation(f"series {number}", f"values: {series.values!r} is none of {', '.join(VALUES)}"))
        if series.stamp not in ("", "start", "end"):
            wrong.append(Violation(f"series {number}", f"stamp: {series.stamp!r} is neither start nor end"))
    if wrong:
        raise InvalidInput("the declaration makes no sense", wrong)
    return declared


def read_mapping(path: Path | None) -> Declared:
    """A mapping file: table `readings`, or the top level. Raises InvalidInput that names what is wrong in it."""
    if path is None:
        return Declared()
    try:
        if path.stat().st_size > MAX_MAPPING_BYTES:
            raise InvalidInput.of("mapping", f"{path} is larger than {MAX_MAPPING_BYTES >> 20} MiB")
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidInput.of("mapping", f"{path}: {error}") from error
    table = document.get("readings", document)
    if not isinstance(table, dict):
        raise InvalidInput.of("mapping", f"{path}: readings is no table")
    wrong: list[Violation] = []
    series = table.get("series", [])
    if not isinstance(series, list) or not all(isinstance(one, dict) for one in series):
        raise InvalidInput.of("mapping", f"{path}: series are tables, [[readings.series]]")
    given = _values(Declared, {name: value for name, value in table.items() if name != "series"}, "", wrong)
    listed = [_values(Series, one, f"series {number}: ", wrong) for number, one in enumerate(series, start=1)]
    if wrong:
        raise InvalidInput(f"{path.name} cannot be understood", wrong)
    return check(Declared(**given, series=tuple(Series(**one) for one in listed)))


def _values(kind: Any, table: Mapping[str, Any], where: str, wrong: list[Violation]) -> dict[str, Any]:
    known = {one.name: one for one in fields(kind)}
    found: dict[str, Any] = {}
    for written, value in table.items():
        name = written.replace("-", "_")
        if name not in known or name == "series":
            wrong.append(Violation("mapping", f"{where}there is no {written!r}; there are {', '.join(known)}"))
        elif name == "missing":
            texts = [value] if isinstance(value, str) else value
            if isinstance(texts, list) and all(isinstance(text, str) for text in texts):
                found[name] = tuple(texts)
            else:
                wrong.append(Violation("mapping", f"{where}missing is a text or a list of texts"))
        elif name == "quality_words":
            found[name] = _words(value, wrong)
        elif isinstance(value, bool if name == "skip" else int if name in ("header_line", "tolerance_s") else str):
            found[name] = value
        else:
            wrong.append(Violation("mapping", f"{where}{written} has a value of the wrong kind: {value!r}"))
    return found


def _words(table: Any, wrong: list[Violation]) -> dict[str, Status]:
    found: dict[str, Status] = {}
    for word, meaning in table.items() if isinstance(table, dict) else ():
        if meaning in STATUS_WORDS:
            found[str(word).strip().casefold()] = Status[meaning.upper()]
        else:
            wrong.append(Violation("mapping", f"quality_words: {meaning!r} is none of {', '.join(STATUS_WORDS)}"))
    if not isinstance(table, dict):
        wrong.append(Violation("mapping", "quality_words is a table of word = status"))
    return found


class Missing:
    """Which cells stand for no value: empty ones, dashes and the like always, zeros and numbers where declared."""

    ALWAYS: Final = frozenset({"", "-", "--", "n/a", "na", "nan", "null", "none", "#n/a", "#nv", "fehlt"})

    def __init__(self, declared: tuple[str, ...]) -> None:
        plain = {text.strip().casefold() for text in declared}
        self.zero = bool(plain & {"zero", "0"})
        self._texts = self.ALWAYS | plain

    def text(self, cell: str) -> bool:
        """Whether a cell holds no value, before it is read as a number."""
        return not cell or cell.casefold() in self._texts
