"""What is told: who did how much at which cost, and whether what we promise holds."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.field.duel import Ratio, Result

_WIDTH = 160  # of the tables where the output is no terminal


@dataclass(frozen=True)
class Figures:
    """One contender in one part."""

    part: str
    contender: str
    points_per_s: float
    requests_per_s: float
    cpu_us_per_point: float
    cpu_us_per_request: float
    cores: float
    runs: int

    @classmethod
    def of(cls, part: str, result: Result) -> Figures:
        """The medians of a contender's runs. Requests are those of the device layer, as it counts them."""
        million = 1e6
        return cls(
            part=part,
            contender=result.name,
            points_per_s=result.median("points", "wall_s"),
            requests_per_s=result.median("requests", "wall_s"),
            cpu_us_per_point=result.median("cpu_s", "points") * million,
            cpu_us_per_request=result.median("cpu_s", "requests") * million if all(result.each("requests")) else 0.0,
            cores=result.median("cpu_s", "wall_s"),
            runs=len(result.runs),
        )


@dataclass(frozen=True)
class Verdict:
    """A promise and what was measured."""

    part: str
    claim: str
    value: float
    low: float
    high: float
    target: float | None  # None: only told
    at_least: bool = True

    @classmethod
    def ratio(cls, part: str, claim: str, ratio: Ratio, target: float | None, *, at_least: bool = True) -> Verdict:
        """A promise about a ratio."""
        return cls(part, claim, ratio.value, ratio.low, ratio.high, target, at_least)

    @classmethod
    def one(cls, part: str, claim: str, value: float, target: float | None, *, at_least: bool = True) -> Verdict:
        """A promise about a single figure."""
        return cls(part, claim, value, value, value, target, at_least)

    @property
    def met(self) -> bool | None:
        """Whether the median keeps the promise."""
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target


@dataclass
class Report:
    """All parts of a run."""

    figures: list[Figures] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def add(self, part: str, results: dict[str, Result]) -> None:
        """The figures of a part's contenders."""
        self.figures += [Figures.of(part, result) for result in results.values()]

    def print(self) -> None:
        """Two tables on standard output."""
        console = Console(soft_wrap=True)
        console.width = max(console.width, _WIDTH)
        table = Table(
            "part", "contender", "points/s", "requests/s", "CPU us/point", "CPU us/request", "cores", "runs", box=None
        )
        for row in self.figures:
            table.add_row(
                row.part,
                row.contender,
                f"{row.points_per_s:,.0f}",
                f"{row.requests_per_s:,.0f}",
                f"{row.cpu_us_per_point:.2f}",
                f"{row.cpu_us_per_request:.1f}" if row.cpu_us_per_request else "",
                f"{row.cores:.2f}",
                str(row.runs),
            )
        console.print(table)
        console.print()
        table = Table("part", "promise", "measured", "lowest..highest", "target", "", box=None)
        words = {True: "kept", False: "NOT KEPT", None: ""}
        for verdict in self.verdicts:
            target = "" if verdict.target is None else f"{'>=' if verdict.at_least else '<='} {verdict.target:g}"
            spread = f"{verdict.low:.3g}..{verdict.high:.3g}"
            table.add_row(verdict.part, verdict.claim, f"{verdict.value:.3g}", spread, target, words[verdict.met])
        console.print(table)
        for line in self.left_out:
            console.print(f"left out: {line}")
        for line in self.failures:
            console.print(f"FAILED: {line}", markup=False)

    def write(self, path: Path) -> None:
        """The same as JSON."""
        verdicts = [{**asdict(verdict), "met": verdict.met} for verdict in self.verdicts]
        document: dict[str, Any] = {
            "at": datetime.now(UTC).isoformat(),
            "python": platform.python_version(),
            "figures": [asdict(row) for row in self.figures],
            "verdicts": verdicts,
            "left_out": self.left_out,
            "failures": self.failures,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2), encoding="utf-8")
