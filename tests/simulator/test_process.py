"""The simulator as its own process: ready line, time-lapse, a town file, and wrong settings."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from domain.timelapse import TimeLapse
from simulator.demo import DemoSize, demo_town
from simulator.town import Town, town_from_json, town_to_json

ROOT = Path(__file__).parents[2]
MILLISECOND = timedelta(milliseconds=1)  # what instants are cut off to
ROUNDING = timedelta(seconds=1)  # of domain time, which makes 36 milliseconds of each microsecond
SMALL = ["--luminaires", "6", "--cabinets", "2", "--monitored", "1"]
ANY_PORTS = ["--port", "0", "--modbus-port", "0", "--opcua-port", "0"]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "simulator", *arguments]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A simulator process that ends by itself."""
    env = {"PATH": "/usr/bin", **environment}
    return subprocess.run(
        command(*arguments), cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False
    )


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator[httpx.Client]:
    """A simulator process that printed its ready line; ended by SIGTERM, which must end it cleanly."""
    env = {"PATH": "/usr/bin", **environment}
    process = subprocess.Popen(command(*ANY_PORTS, *arguments), cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert "simulator ready" in line
        with httpx.Client(base_url=line.split("control ")[1].strip(), timeout=60) as client:
            yield client
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


def test_a_time_lapse_shared_by_its_anchor_lets_a_night_pass_in_no_time() -> None:
    anchor = datetime.now(UTC)
    with running(
        *SMALL,
        LICHTBUCH_CLOCK_START="2026-11-22T11:00:00Z",
        LICHTBUCH_CLOCK_ANCHOR=anchor.isoformat(),
        LICHTBUCH_CLOCK_SPEED="36000",
    ) as client:
        lapse = TimeLapse(datetime(2026, 11, 22, 11, tzinfo=UTC), anchor, 36_000)
        asked = datetime.now(UTC)
        clock = client.get("/clock").json()
        now, answered = datetime.fromisoformat(clock["now"]), datetime.now(UTC)
        # A process that has been stopped between two looks at its clock has looked twice: both ends are ours.
        assert lapse.at(asked) - ROUNDING <= now <= lapse.at(answered) + ROUNDING
        assert asked - MILLISECOND <= datetime.fromisoformat(clock["real"]) <= answered
        # Quarter hours since the start are all there.
        answer = client.get("/truth/meters", params={"at": "2026-11-22T13:45:00Z"})
        assert answer.status_code == 200
        assert len(client.get("/town").json()["luminaires"]) == 6


def test_a_town_file_is_served_as_it_is_with_urls(tmp_path: Path) -> None:
    town = demo_town(DemoSize(luminaires=4, cabinets=2, monitored=1, buildings=1, seed=9))
    path = tmp_path / "town.json"
    path.write_text(json.dumps(town_to_json(town)), encoding="utf-8")
    with running("--town", str(path), "--stepped") as client:
        served: Town = town_from_json(client.get("/town").json())
        assert served.luminaires == town.luminaires
        assert all(e.url for e in served.endpoints)
        assert client.post("/clock/advance", json={"seconds": 60}).status_code == 200


@pytest.mark.parametrize(
    ("arguments", "environment", "reason"),
    [
        (["--luminaires", "many"], {}, "LICHTBUCH_SIMULATOR_LUMINAIRES"),
        ([], {"LICHTBUCH_CLOCK_SPEED": "0"}, "LICHTBUCH_CLOCK_SPEED"),
        ([], {"LICHTBUCH_CLOCK_START": "2026-11-22T11:00:00"}, "LICHTBUCH_CLOCK_START"),
        (["--cabinets", "20"], {}, "luminaires"),
        (["--town", "{folder}/absent.json"], {}, "absent.json"),
        ([*SMALL, "--consumption", "B-9=x.csv"], {}, "B-9"),
        (["--consumption", "B-1"], {}, "BUILDING=FILE"),
    ],
)
def test_wrong_settings_are_printed_and_end_with_2(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], reason: str
) -> None:
    ended = run(*ANY_PORTS, *(argument.format(folder=tmp_path) for argument in arguments), **environment)
    assert ended.returncode == 2, ended.stderr
    assert reason in ended.stderr


def test_the_inventory_is_written_as_csv(tmp_path: Path) -> None:
    path = tmp_path / "inventory.csv"
    ended = run(*SMALL, "--write-csv", str(path))
    assert ended.returncode == 0, ended.stderr
    assert len(path.read_text(encoding="utf-8").splitlines()) == 7
