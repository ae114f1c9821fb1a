"""A client that nobody here wrote reads and writes our simulator: Debian's mbpoll, judged by the simulator's truth."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.simulator.test_process import running

pytestmark = [pytest.mark.long, pytest.mark.peers]

_VALUE = re.compile(r"^\[(\d+)\]:\s+(\S+)", re.MULTILINE)


@pytest.fixture(scope="module", autouse=True)
def mbpoll() -> None:
    """In CI its absence fails the tests; elsewhere it skips them."""
    if shutil.which("mbpoll"):
        return
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail("mbpoll is not installed", pytrace=False)
    pytest.skip("mbpoll is not installed")


@pytest.fixture(scope="module")
def simulator() -> Iterator[httpx.Client]:
    with running(
        "--luminaires", "24", "--cabinets", "3", "--monitored", "2", "--buildings", "1", "--stepped"
    ) as client:
        yield client


class Line:
    """One endpoint of the simulator, as mbpoll sees it: PDU addresses, one poll."""

    def __init__(self, simulator: httpx.Client, endpoint: str) -> None:
        parts = urlsplit(next(e["url"] for e in simulator.get("/town").json()["endpoints"] if e["id"] == endpoint))
        self._where = ["-p", str(parts.port), "127.0.0.1"]
        self._unit = parse_qs(parts.query)["unit"][0]

    def run(self, table: str, address: int, *more: str, values: tuple[int, ...] = (), unit: str = "") -> str:
        """What mbpoll prints. RuntimeError with what it complains of."""
        command = ["mbpoll", "-m", "tcp", "-0", "-1", "-B", "-a", unit or self._unit, "-t", table, "-r", str(address)]
        done = subprocess.run(
            [*command, *more, *self._where, *map(str, values)], capture_output=True, text=True, timeout=20, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        return done.stdout

    def read(self, table: str, address: int, count: int) -> list[float]:
        """Values of registers or bits."""
        found = _VALUE.findall(self.run(table, address, "-c", str(count)))
        assert int(found[0][0]) == address
        return [float(value) for _, value in found]


def truth(simulator: httpx.Client, kind: str, name: str) -> dict[str, Any]:
    rows = simulator.get(f"/truth/{kind}").json()[kind]
    found: dict[str, Any] = next(row for row in rows if row["id"] == name)
    return found


def test_a_meter_reads_as_it_counts(simulator: httpx.Client) -> None:
    meter = Line(simulator, "M-001-tcp")
    (kwh,) = meter.read("3:float", 0x48, 1)
    assert kwh * 1000 == pytest.approx(truth(simulator, "meters", "M-001")["energy_wh"], rel=1e-5)
    voltages = meter.read("3:float", 0, 3)
    assert all(200 < voltage < 250 for voltage in voltages)


def test_a_level_is_written_reaches_the_lamp_and_reads_back(simulator: httpx.Client) -> None:
    gateway = Line(simulator, "C-001-gw")
    gateway.run("4", 15, values=(40,))
    simulator.post("/clock/advance", json={"seconds": 20})
    town = simulator.get("/town").json()
    lamp = next(x["id"] for x in town["luminaires"] if x["cabinet"] == "C-001" and x["gear"] == 0)
    assert truth(simulator, "luminaires", lamp)["level_permille"] == 400
    assert gateway.read("4", 6, 1) == [40]
    assert gateway.read("4", 15, 1) == [40]
    (write,) = simulator.get("/writes", params={"kind": "level"}).json()["writes"]
    assert write["values"] == [40]
    assert write["heard"] == 1


def test_contactors_are_switched_one_by_one_and_together(simulator: httpx.Client) -> None:
    controller = Line(simulator, "C-002-plc")
    for values in ((1, 0), (0, 1), (1, 1), (0, 0)):
        controller.run("0", 0, values=values)
        assert controller.read("0", 0, 2) == list(values)
        assert controller.read("1", 0, 2) == list(values)
        feeders = truth(simulator, "cabinets", "C-002")["feeders"]
        assert [int(feeder["closed"]) for feeder in feeders] == list(values)
    controller.run("0", 1, values=(1,))
    assert controller.read("0", 0, 2) == [0, 1]


def test_the_heartbeat_is_written_in_one_request_with_its_timeout(simulator: httpx.Client) -> None:
    controller = Line(simulator, "C-003-plc")
    controller.run("4", 0, values=(4711, 900))
    assert controller.read("4", 0, 2) == [4711, 900]
    assert truth(simulator, "cabinets", "C-003")["heartbeat"] == 4711


def test_what_is_not_there_is_refused_as_the_protocol_has_it(simulator: httpx.Client) -> None:
    controller = Line(simulator, "C-001-plc")
    with pytest.raises(RuntimeError, match="Illegal data address"):
        controller.read("4", 5000, 1)
    with pytest.raises(RuntimeError, match="Illegal data address"):
        controller.run("4", 5000, values=(1,))
    with pytest.raises(RuntimeError, match="Target device failed to respond"):
        controller.run("4", 0, "-c", "1", unit="77")


def test_the_longest_block_is_answered(simulator: httpx.Client) -> None:
    assert len(Line(simulator, "C-001-gw").read("4", 0, 125)) == 125
