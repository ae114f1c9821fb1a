"""The parts on OPC UA: batched reads and notifications, beside asyncua by hand."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.field import nodes
from bench.field.duel import Contender, Failed, Ratio, Result, duel
from bench.field.machine import Cores, spawn
from bench.field.modbus_parts import Bench
from bench.field.report import Figures, Verdict

OURS, BARE = "ours, asyncio", "asyncua, asyncio"
_LAMPS = 125  # a thousand nodes
_STEP, _STEPS = 0.95, 12


@contextmanager
def _server(cores: Cores, lamps: int) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    process = spawn([sys.executable, "-m", "bench.field.opcua_server", str(lamps)], cores.server, python=True)
    assert process.stdin is not None
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise Failed(f"the OPC UA server did not start:\n{process.communicate()[1][-2000:]}")
    try:
        yield int(line), process
    finally:
        process.stdin.close()
        process.wait(10)


def opcua(bench: Bench) -> None:
    """3b and 3c."""
    lamps = 25 if bench.quick else _LAMPS
    with _server(bench.cores, lamps) as (port, server):
        task = {"port": port, "lamps": lamps, "warm_up_s": bench.warm_up_s, "measured_s": bench.measured_s}
        contenders = [
            Contender.ours(OURS, "ours_opcua", **task, notify=False),
            Contender.ours(BARE, "bare_asyncua", **task, notify=False),
        ]
        results = duel(contenders, bench.cores, bench.rounds, nodes.expected(lamps))
        part = "3 cost, OPC UA reads"
        bench.report.add(part, results)
        cost = Ratio.of(results[OURS].each("cpu_s", "points"), results[BARE].each("cpu_s", "points"))
        claim = "CPU of ours over asyncua's batched reads"
        bench.report.verdicts.append(Verdict.ratio(part, claim, cost, 1.3, at_least=False))
        _notifications(bench, server, task, lamps)


def _notifications(bench: Bench, server: subprocess.Popen[str], task: dict[str, Any], lamps: int) -> None:
    part = "3 notifications"
    runs: dict[str, list[dict[str, float]]] = {OURS: [], BARE: []}
    for _ in range(bench.rounds):
        for name, module in ((OURS, "ours_opcua"), (BARE, "bare_asyncua")):
            contender = Contender.ours(name, module, **task, notify=True)
            runs[name].append(_most_before_loss(bench, contender, server, lamps))
    results = {name: Result(name, tuple(found)) for name, found in runs.items()}
    bench.report.figures += [Figures.of(part, result) for result in results.values()]
    flood = Ratio.of(results[OURS].each("points", "wall_s"), results[BARE].each("points", "wall_s"))
    most = Ratio.of(results[OURS].each("before_loss"), results[BARE].each("before_loss"))
    bench.report.verdicts += [
        Verdict.ratio(part, "notifications/s before loss, times asyncua's", most, 1.8),
        Verdict.ratio(part, "notifications/s as fast as they are fetched, times asyncua's", flood, None),
    ]


def _most_before_loss(
    bench: Bench, contender: Contender, server: subprocess.Popen[str], lamps: int
) -> dict[str, float]:
    """What a subscriber fetches when the server has always more, and the highest rate near that at which none is lost.

    Fails when a notification that was sent did not arrive, or the last values are not those that were sent last.
    """
    client = spawn(list(contender.command), bench.cores.client, python=True)
    _tell(client, json.dumps(contender.task))
    before = _heard(client, contender)
    time.sleep(0.2)
    flood = _asked(server, f"flood {bench.measured_s}", contender)
    after = _settled(client, contender, before["received"] + flood["sent"])
    rate = 1.1 * flood["sent"] / flood["wall_s"]
    total = before["received"] + flood["sent"]
    sent = flood
    for _ in range(1 if bench.quick else _STEPS):
        sent = _asked(server, f"rate {rate} {bench.measured_s}", contender)
        total += sent["sent"]
        if not sent["lost"]:
            break
        rate *= _STEP
    last = _settled(client, contender, total)
    assert client.stdin is not None
    client.stdin.close()
    client.wait(20)
    if last["received"] != total:
        raise Failed(f"{contender.name}: {total} notifications were sent, {last['received']:g} arrived")
    if not math.isclose(last["checksum"], nodes.expected(lamps, int(sent["variant"])), rel_tol=1e-9):
        raise Failed(f"{contender.name} has other values than those that were sent last")
    return {
        "wall_s": flood["wall_s"],
        "cpu_s": after["cpu_s"] - before["cpu_s"],
        "points": flood["sent"],
        "requests": 0.0,
        "before_loss": rate,
    }


def _settled(client: subprocess.Popen[str], contender: Contender, wanted: float) -> dict[str, float]:
    deadline = time.monotonic() + 60  # as a rule at once; a busy machine may take its time
    while True:
        found = _asked(client, "report", contender)
        if found["received"] >= wanted or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def _asked(process: subprocess.Popen[str], line: str, contender: Contender) -> dict[str, float]:
    _tell(process, line)
    return _heard(process, contender)


def _tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def _heard(process: subprocess.Popen[str], contender: Contender) -> dict[str, float]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise Failed(f"{contender.name}: a process ended:\n{process.communicate()[1][-2000:]}")
    found: dict[str, float] = json.loads(line)
    return found
