"""The parts on Modbus: the crowd, scattered points, the cost of our layer, many connections."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.field.duel import Contender, Failed, Ratio, Result, device_server, duel, run_once
from bench.field.machine import Cores
from bench.field.report import Report, Verdict
from bench.field.tags import LISTS, checksum

GATEWAY = "ThingsBoard gateway 3.8"
OURS, OURS_UVLOOP = "ours, asyncio", "ours, uvloop"
BARE, BARE_UVLOOP = "pymodbus blocks, asyncio", "pymodbus blocks, uvloop"
SINGLE = "pymodbus single reads"
LIBMODBUS = "libmodbus, threads"


@dataclass(frozen=True)
class Bench:
    """What all parts need, and how long they may take."""

    cores: Cores
    report: Report
    device_server: Path
    libmodbus_client: Path | None
    gateway_python: Path | None
    rounds: int
    warm_up_s: float
    measured_s: float
    quick: bool

    def task(self, tags: str, ports: list[int], **more: Any) -> dict[str, Any]:
        """What a contender is told: unit 1 on every port."""
        devices = [(port, listener, 1) for listener, port in enumerate(ports)]
        return {
            "tags": tags,
            "devices": devices,
            "warm_up_s": self.warm_up_s,
            "measured_s": self.measured_s,
            **more,
        }

    def expected(self, tags: str, listeners: int) -> float:
        """The checksum of the right values for unit 1 of all listeners."""
        return checksum(LISTS[tags].expected(listener, 1) for listener in range(listeners))


def ours(name: str, task: dict[str, Any]) -> Contender:
    """Our field layer on the loop that its name says."""
    return Contender.ours(name, "ours", **task, loop=_loop(name))


def bare(name: str, task: dict[str, Any]) -> Contender:
    """Plain pymodbus by hand, on the loop that its name says."""
    return Contender.ours(name, "bare_pymodbus", **task, loop=_loop(name), single=name == SINGLE)


def _loop(name: str) -> str:
    return "uvloop" if name.endswith("uvloop") else "asyncio"


def _rate(first: Result, second: Result, figure: str = "points") -> Ratio:
    return Ratio.of(first.each(figure, "wall_s"), second.each(figure, "wall_s"))


def _cost(first: Result, second: Result) -> Ratio:
    return Ratio.of(first.each("cpu_s", "points"), second.each("cpu_s", "points"))


def crowd(bench: Bench) -> None:
    """1: a hundred devices, twenty scattered registers each, beside the gateway."""
    count, tags, part = (10 if bench.quick else 100), "scattered-20", "1 crowd"
    with device_server(bench.device_server, bench.cores, count) as (ports, _):
        task = bench.task(tags, ports)
        contenders = [ours(OURS_UVLOOP, task), bare(BARE_UVLOOP, task)]
        contenders += [] if bench.quick else [ours(OURS, task), bare(BARE, task)]
        if bench.gateway_python is None:
            bench.report.left_out.append(f"{part}: {GATEWAY} (its environment is not there)")
        else:
            gateway, tried = _gateway_at_its_best(bench, bench.gateway_python, task)
            contenders.insert(0, gateway)
        results = duel(contenders, bench.cores, bench.rounds, bench.expected(tags, count))
    bench.report.add(part, results)
    if bench.gateway_python is not None:
        # Against the most that it delivered in any run: a round in which its polls piled up would flatter us.
        most = [max([tried, *results[GATEWAY].each("points", "wall_s")])] * bench.rounds
        least = [min(results[GATEWAY].each("cpu_s", "points"))] * bench.rounds
        for name in (OURS_UVLOOP,) if bench.quick else (OURS, OURS_UVLOOP):
            claim = f"points/s of {name}, times the gateway's in its best run"
            rate = Ratio.of(results[name].each("points", "wall_s"), most)
            bench.report.verdicts.append(Verdict.ratio(part, claim, rate, 40.0))
            claim = f"points per second of CPU, {name}, times the gateway's"
            cost = Ratio.of(least, results[name].each("cpu_s", "points"))
            bench.report.verdicts.append(Verdict.ratio(part, claim, cost, None))


def _gateway_at_its_best(bench: Bench, python: Path, task: dict[str, Any]) -> tuple[Contender, float]:
    """The gateway polls in a period; too short a one and its polls pile up. The one at which it delivers most, and
    how much that was."""

    def at(period_ms: int, measured_s: float) -> Contender:
        longer = {**task, "period_ms": period_ms, "warm_up_s": 4 * bench.warm_up_s, "measured_s": measured_s}
        return Contender(GATEWAY, (str(python), "-m", "bench.field.contenders.gateway"), longer)

    if bench.quick:
        return at(100, 0.5), 0.0
    runs = {period: run_once(at(period, 2.0), bench.cores) for period in (400, 250, 200, 160, 130, 110, 95, 80)}
    found = {period: run["points"] / run["wall_s"] for period, run in runs.items()}
    best = max(found, key=lambda period: found[period])
    return at(best, 4.0), found[best]


def scattered(bench: Bench) -> None:
    """2: sixty scattered points on one device, fast and behind a slow line; blocks against single reads."""
    tags = "scattered-60"
    delays = (("2 scattered, fast", "0"), ("2 scattered, 5 ms", "5000"))
    for part, delay in delays[1:] if bench.quick else delays:
        scans: dict[str, float] = {}
        with device_server(bench.device_server, bench.cores, 1, delay) as (ports, requests):
            task = bench.task(tags, ports)
            contenders = [ours(OURS, task), bare(BARE, task), bare(SINGLE, task)]
            results = duel(contenders, bench.cores, bench.rounds, bench.expected(tags, 1))
            for contender in contenders[: 1 if bench.quick else 2]:
                scans[contender.name] = _requests_per_scan(bench, contender, requests)
        bench.report.add(part, results)
        best = len(LISTS[tags].hand_plan)
        if scans.get(BARE, best) != best:
            raise Failed(f"the plan by hand has {best} requests, the device saw {scans[BARE]} per scan")
        bench.report.verdicts += [
            Verdict.ratio(part, "scans/s, times those of single reads", _rate(results[OURS], results[SINGLE]), 25.0),
            Verdict.ratio(part, "scans/s over the best plan's by hand", _rate(results[OURS], results[BARE]), 0.95),
            Verdict.one(part, "requests per scan over the best plan's", scans[OURS] / best, 1.05, at_least=False),
        ]


def _requests_per_scan(bench: Bench, contender: Contender, requests: Callable[[], int]) -> float:
    """As the device counts them."""
    before = requests()
    task = {**contender.task, "warm_up_s": 0.0, "measured_s": bench.measured_s / 2}
    found = run_once(Contender(contender.name, contender.command, task), bench.cores)
    scans = found["points"] / len(LISTS[task["tags"]].tags) + 1  # one proves the values
    return float(requests() - before) / scans


def layer(bench: Bench) -> None:
    """3a: what our layer costs over pymodbus by hand: a meter's floats and counters, in three blocks."""
    part, tags, count = "3 cost, Modbus", "meter", 20
    with device_server(bench.device_server, bench.cores, count) as (ports, _):
        task = bench.task(tags, ports)
        pairs = [(OURS, BARE)] if bench.quick else [(OURS, BARE), (OURS_UVLOOP, BARE_UVLOOP)]
        contenders = [who for name, other in pairs for who in (ours(name, task), bare(other, task))]
        results = duel(contenders, bench.cores, bench.rounds, bench.expected(tags, count))
    bench.report.add(part, results)
    for name, other in pairs:
        claim = f"CPU of {name} over {other}"
        cost = _cost(results[name], results[other])
        bench.report.verdicts.append(Verdict.ratio(part, claim, cost, 1.35, at_least=False))


def connections(bench: Bench) -> None:
    """4: ten registers of many devices, a connection each."""
    tags = "ten"
    for count in (5,) if bench.quick else (50, 500):
        part = f"4 {count} devices"
        with device_server(bench.device_server, bench.cores, count) as (ports, _):
            task = bench.task(tags, ports)
            contenders = [ours(OURS_UVLOOP, task)]
            if not bench.quick:
                contenders += [bare(BARE, task), ours(OURS, task), bare(BARE_UVLOOP, task)]
            if bench.libmodbus_client is None:
                bench.report.left_out.append(f"{part}: {LIBMODBUS} (no compiler or no libmodbus-dev)")
            else:
                (start, registers), scale = LISTS[tags].hand_plan[0], LISTS[tags].tags[0].scale
                arguments = [bench.measured_s, start, registers, scale, *ports]
                command = (str(bench.libmodbus_client), *(str(argument) for argument in arguments))
                contenders.append(Contender(LIBMODBUS, command))
            results = duel(contenders, bench.cores, bench.rounds, bench.expected(tags, count))
        bench.report.add(part, results)
        pairs = [(OURS, BARE, 1.8), (OURS_UVLOOP, BARE, 1.8), (OURS_UVLOOP, BARE_UVLOOP, None)]
        pairs.append((OURS_UVLOOP, LIBMODBUS, None))
        for name, other, target in pairs:
            if name not in results or other not in results:
                continue
            claim = f"requests/s of {name}, times {other}"
            ratio = _rate(results[name], results[other], "requests")
            bench.report.verdicts.append(Verdict.ratio(part, claim, ratio, target))
            claim = f"CPU per request of {other}, times that of {name}"
            cost = _cost(results[other], results[name])
            bench.report.verdicts.append(Verdict.ratio(part, claim, cost, None))


def held(bench: Bench) -> None:
    """5: a hundred thousand tags a second, held, with writes of a hundred points among them."""
    ports_count, units, part = (5, 2, "5 held") if bench.quick else (100, 10, "5 held")
    expected = checksum(
        LISTS["hundred"].expected(listener, unit) for listener in range(ports_count) for unit in range(1, units + 1)
    )
    with device_server(bench.device_server, bench.cores, ports_count) as (ports, _):
        devices = [(port, listener, unit) for listener, port in enumerate(ports) for unit in range(1, units + 1)]
        for name in (OURS_UVLOOP,) if bench.quick else (OURS, OURS_UVLOOP):
            task = {
                "tags": "hundred",
                "devices": devices,
                "warm_up_s": 0.2 if bench.quick else 3.0,
                "measured_s": 1.2 if bench.quick else 60.0 if name == OURS_UVLOOP else 20.0,
                "write_interval_s": 0.1,
                "loop": _loop(name),
            }
            # What is written stays written, so only the first can be held against the registers' own values.
            contender = Contender.ours(name, "held", **task)
            found = run_once(contender, bench.cores)
            _judge_held(bench, part, name, Result(name, (found,)), found, len(devices) * 100.0)
            if name == OURS_UVLOOP and bench.quick and not math.isclose(found["checksum"], expected, rel_tol=1e-9):
                raise Failed(f"{name} has other values")


def _judge_held(bench: Bench, part: str, name: str, result: Result, found: dict[str, float], tags_per_s: float) -> None:
    bench.report.add(part, {name: result})
    rate = found["points"] / found["wall_s"]
    share = found["cpu_s"] / found["wall_s"]
    figures: list[tuple[str, float, float | None, bool]] = [
        (f"tags/s of {name}, over {tags_per_s:,.0f}", rate / tags_per_s, 0.99, True),
        (f"cores of {name} (published for C: 1.2)", share, 0.6, False),
        (f"p99 of a 100-point write, ms, {name} (published mean: 523)", found["write_p99_ms"], 261.0, False),
        (f"mean of a 100-point write with read-back, ms, {name}", found["write_mean_ms"], None, False),
        (f"values bad or writes not confirmed, {name}", found["bad"], 0.0, False),
    ]
    for claim, value, target, at_least in figures:
        bench.report.verdicts.append(Verdict.one(part, claim, value, target, at_least=at_least))


def neighbours(bench: Bench) -> None:
    """6: one dead and one slow device among two hundred behind one gateway."""
    part, units = "6 neighbours", 20 if bench.quick else 200
    dead, slow = units // 4, units // 2
    sick = [dead, slow]
    expected = checksum(LISTS["ten"].expected(0, unit) for unit in range(1, units + 1) if unit not in sick)
    cycles: dict[str, list[dict[str, float]]] = {"healthy": [], "sick": []}
    options = {"healthy": ["5000"], "sick": ["5000", f"{dead}:-1", f"{slow}:50000"]}
    for _ in range(1 if bench.quick else 2):
        for state, arguments in options.items():
            if bench.quick and state == "healthy":
                continue
            with device_server(bench.device_server, bench.cores, 1, *arguments) as (ports, _):
                task = {
                    "tags": "ten",
                    "devices": [(ports[0], 0, unit) for unit in range(1, units + 1)],
                    "sick": sick,
                    "warm_up_s": 0.3 if bench.quick else 6.0,
                    "measured_s": 1.0 if bench.quick else 12.0,
                    "loop": "uvloop",
                    **({"request_timeout_s": 0.2} if bench.quick else {}),
                }
                found = run_once(Contender.ours("ours, uvloop", "neighbours", **task), bench.cores)
                if not math.isclose(found["checksum"], expected, rel_tol=1e-9):
                    raise Failed("neighbours: other values")
                cycles[state].append(found)
    results = {state: Result(f"ours, uvloop, {state}", tuple(runs)) for state, runs in cycles.items() if runs}
    bench.report.add(part, results)
    if bench.quick:
        return
    for figure, claim in (("cycle_ms", "mean cycle"), ("worst_cycle_ms", "slowest device's cycle")):
        ratio = Ratio.of(results["sick"].each(figure), results["healthy"].each(figure))
        target = 1.05 if figure == "cycle_ms" else None
        text = f"{claim} of the healthy, over that with all healthy"
        bench.report.verdicts.append(Verdict.ratio(part, text, ratio, target, at_least=False))


PARTS = {"1": crowd, "2": scattered, "3": layer, "4": connections, "5": held, "6": neighbours}
