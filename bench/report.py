"""What a part of the benchmarks tells: comparisons in one run, and promises with what was measured."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.timing import Comparison

_WIDTH = 160  # of the tables where the output is no terminal


@dataclass(frozen=True)
class Verdict:
    """A promise and what was measured. low, high: over the rounds of the run. target None: only told."""

    part: str
    claim: str
    value: float
    low: float
    high: float
    target: float | None = None
    at_least: bool = True

    @property
    def met(self) -> bool | None:
        """Whether the median keeps the promise."""
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target


@dataclass
class Report:
    """All parts of a run. quick: on so little work no speed is a promise."""

    quick: bool = False
    comparisons: list[dict[str, object]] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def compare(self, part: str, comparison: Comparison, target: float) -> None:
        """Two ways of doing the same work, and how many times as fast ours has to be."""
        self.comparisons.append({"part": part, **comparison.row()})
        ratios = comparison.ratios
        claim = f"{comparison.title}: times {comparison.peer}"
        promised = None if self.quick else target
        self.verdicts.append(Verdict(part, claim, comparison.ratio, min(ratios), max(ratios), promised))

    def tell(self, part: str, claim: str, value: float, at_most: float | None = None) -> None:
        """A single figure that has to be small, or is only told."""
        self.verdicts.append(Verdict(part, claim, value, value, value, at_most, at_least=False))

    def print(self) -> None:
        """Two tables on standard output."""
        console = Console(soft_wrap=True)
        console.width = max(console.width, _WIDTH)
        if self.comparisons:
            table = Table(*(name.replace("_", " ") for name in self.comparisons[0]), box=None)
            for row in self.comparisons:
                table.add_row(
                    *(f"{value:,}" if isinstance(value, int | float) else str(value) for value in row.values())
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
        for line in self.notes:
            console.print(line, markup=False)
        for line in self.failures:
            console.print(f"FAILED: {line}", markup=False)

    def write(self, path: Path) -> None:
        """The same as JSON."""
        document = {
            "at": datetime.now(UTC).isoformat(),
            "python": platform.python_version(),
            "comparisons": self.comparisons,
            "verdicts": [{**asdict(verdict), "met": verdict.met} for verdict in self.verdicts],
            "notes": self.notes,
            "failures": self.failures,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2), encoding="utf-8")
