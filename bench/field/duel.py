"""Runs contenders in turn, each in a process of its own on the client's core, and compares what they did.

Whoever has other values than the others, or a single one of bad quality, ends the benchmark: speed without the work
is no speed.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.field.machine import Cores, spawn

_TOLERANCE = 1e-9  # sums of floats in another order


class Failed(Exception):
    """A contender did not do the work: its part of the benchmark says nothing."""


@dataclass(frozen=True)
class Contender:
    """Who, and how its process is started. `task` goes to it as JSON; `arguments` for programs that want theirs."""

    name: str
    command: tuple[str, ...]
    task: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def ours(cls, name: str, module: str, **task: Any) -> Contender:
        """One of bench/field/contenders in this environment."""
        return cls(name, (sys.executable, "-m", f"bench.field.contenders.{module}"), task)


@dataclass(frozen=True)
class Result:
    """The runs of one contender."""

    name: str
    runs: tuple[dict[str, float], ...]

    def each(self, *names: str) -> list[float]:
        """A figure of each run; two names are the first over the second."""
        return [run[names[0]] / run[names[1]] if len(names) > 1 else run[names[0]] for run in self.runs]

    def median(self, *names: str) -> float:
        """The median of a figure."""
        return statistics.median(self.each(*names))


@dataclass(frozen=True)
class Ratio:
    """The median over rounds of one figure of one contender over another's in the same round, and how far it varied."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, first: Sequence[float], second: Sequence[float]) -> Ratio:
        """Round by round."""
        pairs = [a / b for a, b in zip(first, second, strict=True)]
        return cls(statistics.median(pairs), min(pairs), max(pairs))


@contextmanager
def device_server(program: Path, cores: Cores, ports: int, *options: str) -> Iterator[tuple[list[int], Any]]:
    """The ports of a running crowd of devices, and a function that says how many requests they have had."""
    process = spawn([str(program), str(ports), *(options or ("0",))], cores.server)
    assert process.stdin is not None
    assert process.stdout is not None
    found = [int(port) for port in process.stdout.readline().split()]

    def requests() -> int:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("requests\n")
        process.stdin.flush()
        return int(process.stdout.readline())

    try:
        yield found, requests
    finally:
        process.stdin.close()
        process.wait(10)


def run_once(contender: Contender, cores: Cores) -> dict[str, float]:
    """One process from start to end."""
    process = spawn(list(contender.command), cores.client, python=True)
    output, errors = process.communicate(json.dumps(contender.task) + "\n", timeout=180)
    try:
        found: dict[str, float] = json.loads(output.splitlines()[-1])
    except (ValueError, IndexError):
        raise Failed(f"{contender.name} failed (exit {process.returncode}):\n{errors[-2000:]}") from None
    return found


def duel(contenders: Sequence[Contender], cores: Cores, rounds: int, expected: float) -> dict[str, Result]:
    """All contenders in turn, `rounds` times; results by name. Failed where one did not do the work."""
    runs: dict[str, list[dict[str, float]]] = {contender.name: [] for contender in contenders}
    for _ in range(rounds):
        for contender in contenders:
            found = run_once(contender, cores)
            if not math.isclose(found["checksum"], expected, rel_tol=_TOLERANCE):
                raise Failed(f"{contender.name} has other values: checksum {found['checksum']}, not {expected}")
            if found["bad"]:
                raise Failed(f"{contender.name} has {found['bad']:g} values or requests that went wrong")
            runs[contender.name].append(found)
    return {name: Result(name, tuple(found)) for name, found in runs.items()}
