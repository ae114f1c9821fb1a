"""The command's offline tools, run as a person runs them: arguments in, output and exit code out.

The first tests start the command from nothing, as a shell does; the others have it forked from a process with its
modules loaded, as starting takes longer than what they look at.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date, datetime
from importlib.metadata import version
from pathlib import Path

import pytest
from astral import LocationInfo, SunDirection
from astral.sun import sun as astral_sun
from astral.sun import time_of_transit

from tests.support.warm_command import Done, run_warm_now

ROOT = Path(__file__).resolve().parents[2]

PROFILE = """
name = "Half night"
[[points]]
anchor = "sunset"
level = 100
[[points]]
anchor = "clock"
time = "22:30"
level = 50
[[points]]
anchor = "clock"
time = "04:30"
level = 100
[[points]]
anchor = "sunrise"
level = 0
"""

TERMS = """
time_zone = "Europe/Berlin"
[factors]
price_eur_per_kwh = "0.30"
price_source = "test"
co2_g_per_kwh = 363
co2_source = "2024, UBA first estimate"
[baseline]
weekday_wh = [24000, 24000, 24000, 24000, 24000, 24000, 24000, 24000, 24000, 24000, 24000, 24000]
weekend_wh = [24000, 24000, 24000, 24000, 24000, 24000, 24000, 24000, 24000, 24000, 24000, 24000]
uncertainty_permille = 100
source = "test"
"""


def lichtbuch(*arguments: str | Path) -> Done:
    return run_warm_now([*map(str, arguments)], os.environ | {"COLUMNS": "200"})


def started_from_nothing(*arguments: str | Path) -> Done:
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto' / 'gen'}", "COLUMNS": "200"}
    command = [sys.executable, "-m", "cli.main", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=100)
    return Done(done.returncode, done.stdout, done.stderr)


def test_the_version_is_told() -> None:
    done = started_from_nothing("--version")
    assert done.returncode == 0
    assert done.stdout == f"lichtbuch {version('lichtbuch')}\n"


@pytest.mark.parametrize("arguments", [("sun", "--help"), ("sun", "95", "9", "2026-11-22"), ("sun", "95", "--json")])
def test_forked_or_started_from_nothing_it_says_the_same(arguments: tuple[str, ...]) -> None:
    assert lichtbuch(*arguments) == started_from_nothing(*arguments)


def test_sun_prints_the_times_of_a_date_within_a_minute_of_another_library() -> None:
    done = started_from_nothing("sun", "50.868", "9.707", "2026-11-22", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    observer = LocationInfo("", "", "UTC", 50.868, 9.707).observer
    expected = astral_sun(observer, datetime(2026, 11, 22).date())
    for name in ("sunrise", "sunset"):
        found = datetime.fromisoformat(document[name]["utc"])
        assert abs((found - expected[name]).total_seconds()) < 60
        assert datetime.fromisoformat(document[name]["local"]) == found
    for name, day, direction in (
        ("civil_dusk", 22, SunDirection.SETTING),
        ("civil_dawn", 22, SunDirection.RISING),
        ("next_civil_dawn", 23, SunDirection.RISING),
    ):
        # Without its refraction, which astral would apply to twilight, too.
        theirs = time_of_transit(observer, date(2026, 11, day), 96.0, direction, with_refraction=False)
        assert abs((datetime.fromisoformat(document[name]["utc"]) - theirs).total_seconds()) < 60
        assert document[name]["local"].endswith("+01:00")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("sun", "50", "9", "2026-13-01"), "date: '2026-13-01' is no date"),
        (("sun", "95", "9", "2026-11-22"), "position: LAT is -90..90"),
        (("sun", "50", "9", "2026-11-22", "--time-zone", "Europe/Hersfeld"), "time_zone"),
    ],
)
def test_wrong_input_names_the_field_and_ends_with_2(arguments: tuple[str, ...], words: str) -> None:
    done = lichtbuch(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_profile_is_previewed_without_a_server(tmp_path: Path) -> None:
    file = tmp_path / "half-night.toml"
    file.write_text(PROFILE, encoding="utf-8")
    done = lichtbuch("profile", "preview", file, "--from", "2026-12-21", "--nights", "1", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [event["level_permille"] for event in document["events"]] == [0, 1000, 500, 1000, 0]
    assert document["events"][2]["local"] == "2026-12-21T22:30:00+01:00"
    assert document["lit_hours"] - document["full_light_equivalent_hours"] == pytest.approx(3.0, abs=0.001)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('time = "22:30"', 'time = "20:00"'), "points[1]"),
        (('anchor = "sunrise"', 'anchor = "moonrise"'), "points[3].anchor"),
        (("level = 50", "level = 150"), "points[1].level"),
        (("level = 50", "colour = 3"), "points[1].colour"),
        (("[[points]]", "[[points"), "file"),
    ],
)
def test_a_profile_that_is_wrong_is_refused_with_the_place(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(PROFILE.replace(*change), encoding="utf-8")
    done = lichtbuch("profile", "preview", file)
    assert done.returncode == 2
    assert words in done.stderr


def test_all_that_is_wrong_in_a_profile_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    wrong = PROFILE.replace('anchor = "sunset"', 'anchor = "moonset"').replace(
        "level = 50", "level = 150\nramp_s = 9999"
    )
    file.write_text(
        wrong.replace('time = "04:30"', 'time = "25:30"').replace("level = 0", "level = 10"), encoding="utf-8"
    )
    done = lichtbuch("profile", "preview", file, "--json")
    assert done.returncode == 2
    error = json.loads(done.stderr)["error"]
    assert (error["code"], error["field"]) == ("INVALID_INPUT", "points[0].anchor")
    assert [violation["field"] for violation in error["violations"]] == [
        "points[0].anchor",
        "points[1].level",
        "points[2].time",
        "points[3].level_permille",
    ]


def test_a_saving_is_evaluated_without_a_server(tmp_path: Path) -> None:
    readings, terms = tmp_path / "readings.csv", tmp_path / "terms.toml"
    readings.write_text("Zeit;Stand\n01.06.2026 00:00;1000,0\n02.06.2026 00:00;1020,0\n", encoding="utf-8")
    terms.write_text(TERMS, encoding="utf-8")
    done = lichtbuch("savings", "evaluate", readings, "--terms", terms, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["actual_wh"], document["baseline_wh"], document["saved_wh"]) == (20_000, 24_000, 4_000)
    assert document["saved_eur"] == "1.20"
    assert document["avoided_co2_g"] == 1452


def test_a_line_of_readings_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    readings, terms = tmp_path / "readings.csv", tmp_path / "terms.toml"
    readings.write_text("Zeit;Stand\n29.03.2026 02:30;1000\n30.03.2026 00:00;1O20\n", encoding="utf-8")
    terms.write_text(TERMS, encoding="utf-8")
    done = lichtbuch("savings", "evaluate", readings, "--terms", terms)
    assert done.returncode == 2
    assert "line 2, Zeit: does not exist: the clock skips it in spring" in done.stderr
    assert "line 3, Stand: is no number" in done.stderr


def test_a_command_without_a_login_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LICHTBUCH_CONFIG_DIR", str(tmp_path))
    monkeypatch.delenv("LICHTBUCH_TOKEN", raising=False)
    done = lichtbuch("lamps")
    assert done.returncode == 5
    assert "lichtbuch login" in done.stderr


def test_an_unreachable_service_ends_with_4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LICHTBUCH_TOKEN", "not-looked-at")
    monkeypatch.setenv("LICHTBUCH_REGISTRY_ADDRESS", "127.0.0.1:1")
    done = lichtbuch("lamps")
    assert done.returncode == 4


@pytest.mark.parametrize(
    ("arguments", "code", "error_code"),
    [
        (("sun", "95", "9", "2026-11-22", "--json"), 2, "INVALID_INPUT"),
        (("sun", "95", "--json"), 2, "WRONG_USE"),
        (("lamps", "--bogus", "--json"), 2, "WRONG_USE"),
    ],
)
def test_an_error_under_json_is_json_on_standard_error(arguments: tuple[str, ...], code: int, error_code: str) -> None:
    done = lichtbuch(*arguments)
    assert done.returncode == code
    assert done.stdout == ""
    assert json.loads(done.stderr)["error"]["code"] == error_code


def test_a_bundle_that_is_none_does_not_verify(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.jsonl"
    bundle.write_text('{"nothing": 1}\n', encoding="utf-8")
    done = lichtbuch("ledger", "verify", bundle, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["valid"] is False


def test_every_reserved_command_explains_itself() -> None:
    for words in (
        ("import", "luminaires"), ("import", "readings"), ("sun",), ("profile", "preview"), ("level", "set"),
        ("level", "release"), ("field", "read"), ("field", "write"), ("field", "scan"), ("field", "identify"),
        ("readings", "export"), ("savings", "evaluate"), ("ledger", "post"), ("ledger", "verify"),
        ("ledger", "statement"),
    ):  # fmt: skip
        done = lichtbuch(*words, "--help")
        assert done.returncode == 0, done.stderr
        assert "--json" in done.stdout
