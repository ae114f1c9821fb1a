"""What a profile brings, seen on the command line: offline with lamps as options say, and for groups of a town."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import typer

from cli.commands import profiles
from cli.nights.preview_offline import Lamps, curve_of, factors_of
from cli.nights.preview_shown import document_of
from domain.errors import InvalidInput
from domain.level import PowerCurve
from domain.night import zone
from lichtbuch.scheduler.v1 import preview_pb2
from lichtbuch.scheduler.v1 import scheduler_pb2 as pb
from services.scheduler.moment import Place
from tests.cli.test_offline import PROFILE, lichtbuch

BAD_HERSFELD = Place(50.868, 9.707, zone("Europe/Berlin"))


@pytest.fixture
def half_night(tmp_path: Path) -> Path:
    file = tmp_path / "half-night.toml"
    file.write_text(PROFILE, encoding="utf-8")
    return file


def previewed(*arguments: str | Path) -> dict[str, Any]:
    done = lichtbuch("profile", "preview", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_lamps_given_as_options_make_hours_energy_money_and_emissions(half_night: Path) -> None:
    seen = previewed(
        half_night, "--from", "2026-01-01", "--watts", "22.8", "--lamps", "1000", "--curve", "10:33,50:61",
        "--price", "0,2875", "--co2", "400",
    )  # fmt: skip
    assert seen["nights"] == 365
    assert [month["month"] for month in seen["months"]] == [f"2026-{number:02}" for number in range(1, 13)]
    total = seen["total"]
    # Six hours a night at 61 % of the power in place of 100 %; one of the nights has an hour more, one an hour less.
    saved_kwh = 365 * 6 * 22.8 * 0.39
    assert total["less_than_full"]["energy_kwh"] == pytest.approx(saved_kwh, rel=2e-3)
    assert total["full"]["energy_kwh"] == pytest.approx(total["full"]["lit_hours"] * 22.8, rel=1e-6)
    assert float(total["previewed"]["cost_eur"]) == pytest.approx(total["previewed"]["energy_kwh"] * 0.2875, abs=0.01)
    assert total["previewed"]["co2_kg"] == pytest.approx(total["previewed"]["energy_kwh"] * 0.4, abs=0.01)
    assert "current" not in total
    assert [warning for warning in seen["warnings"] if "the clock changes" in warning]


def test_it_is_compared_with_the_profile_that_holds_now(half_night: Path, tmp_path: Path) -> None:
    now = tmp_path / "now.toml"
    now.write_text(PROFILE.replace("level = 50", "level = 80"), encoding="utf-8")
    seen = previewed(half_night, "--watts", "20", "--against", now, "--from", "2026-11-01", "--nights", "30")
    less = seen["total"]["less_than_current"]
    assert 0 < less["energy_kwh"] < seen["total"]["less_than_full"]["energy_kwh"]
    assert less["energy_percent"] > 0
    assert less["lit_hours"] == 0


def test_a_level_below_the_floor_is_warned_of_and_counted_as_the_floor(half_night: Path) -> None:
    low = previewed(half_night, "--watts", "20", "--from", "2026-11-01", "--nights", "3", "--floor", "60")
    free = previewed(half_night, "--watts", "20", "--from", "2026-11-01", "--nights", "3")
    assert [warning for warning in low["warnings"] if "50 % is below the floor of 60 %" in warning]
    assert low["total"]["previewed"]["energy_kwh"] > free["total"]["previewed"]["energy_kwh"]


def test_people_are_shown_months_and_what_is_saved(half_night: Path) -> None:
    done = lichtbuch("profile", "preview", half_night, "--watts", "20", "--from", "2026-01-01")
    assert done.returncode == 0, done.stderr
    assert "2026-12" in done.stdout
    assert "full light" in done.stdout
    assert "% less" in done.stdout
    assert "0.30 EUR/kWh, 363 g CO2/kWh" in done.stdout
    assert "22:30" not in done.stdout  # a year of switch events is for programs
    night = lichtbuch("profile", "preview", half_night, "--from", "2026-12-21")
    assert "2026-12-21T22:30:00+01:00" in night.stdout
    assert "not known: no lamps are given (--watts)" in night.stdout


def test_a_night_of_the_year_that_goes_wrong_is_named_before_anything_is_shown(half_night: Path) -> None:
    half_night.write_text(PROFILE.replace('"22:30"', '"21:00"'), encoding="utf-8")
    done = lichtbuch("profile", "preview", half_night, "--from", "2026-11-22", "--nights", "1", "--watts", "20")
    assert done.returncode == 2
    assert "points[1]: in the night of 2027-05-13 it comes at 21:00:00" in done.stderr
    assert not done.stdout


@pytest.mark.parametrize(
    ("lamps", "field"),
    [
        (Lamps(watts=-1), "watts"),
        (Lamps(watts=float("nan")), "watts"),
        (Lamps(watts=20_000), "watts"),
        (Lamps(watts=20, count=0), "lamps"),
        (Lamps(watts=20, curve="bright"), "curve"),
        (Lamps(watts=20, curve="50:60,10:80"), "curve"),
        (Lamps(watts=20, curve="50:200"), "curve"),
        (Lamps(watts=20, floor="200"), "floor"),
    ],
)
def test_lamps_that_make_no_sense_are_refused_with_the_option(lamps: Lamps, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        lamps.load(BAD_HERSFELD)
    assert refused.value.violations[0].field == field


def test_curves_are_given_in_percent_or_by_name() -> None:
    assert curve_of("10:33,50:61", 22.8) == PowerCurve(((100, 330), (500, 610), (1000, 1000)), 22.8)
    assert curve_of("typical-led", 20).power_w(100) == pytest.approx(6.6)
    assert curve_of("not-dimmable", 70).power_w(500) == 70
    load = Lamps(watts=20, count=5).load(BAD_HERSFELD)
    assert load is not None
    assert (load.luminaires, load.estimated) == (5, 5)
    assert Lamps().load(BAD_HERSFELD) is None


def test_prices_are_decimal_with_point_or_comma() -> None:
    assert str(factors_of("0,2875", 0).price_eur_per_kwh) == "0.2875"
    assert (str(factors_of("", -1).price_eur_per_kwh), factors_of("", -1).co2_g_per_kwh) == ("0.30", 363)
    for wrong in ("cheap", "NaN", "-1", "1e9"):
        with pytest.raises(InvalidInput, match="price"):
            factors_of(wrong, 0)


class TownSession:
    """A login in a town whose scheduler says that the profile crosses in one of the groups."""

    def __init__(self) -> None:
        self.scheduler = self
        self.asked: list[pb.PreviewProfileRequest] = []

    async def parent(self) -> str:
        return "municipalities/x"

    async def zone(self) -> ZoneInfo:
        return ZoneInfo("Europe/Berlin")

    async def name(self, collection: str, given: str) -> str:
        return f"municipalities/x/{collection}/{given}"

    async def PreviewProfile(self, request: pb.PreviewProfileRequest) -> pb.PreviewProfileResponse:
        self.asked.append(request)
        groups = [preview_pb2.GroupPreview(group=group) for group in request.groups]
        groups[-1].problem = "points[1]: in the night of 2027-06-01 it comes at 21:00:00"
        return pb.PreviewProfileResponse(groups=groups, energy_unknown="lighting does not answer")


def test_groups_are_asked_of_the_scheduler_and_a_problem_in_one_ends_with_1(
    half_night: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session = TownSession()
    monkeypatch.setattr(profiles, "online", lambda ask, municipality: asyncio.run(ask(session)))
    with pytest.raises(typer.Exit) as ended:
        profiles.preview_profile(half_night, ["markt", "ring"], start="2027-01-01", price="0.25", as_json=True)
    assert ended.value.exit_code == 1
    [request] = session.asked
    assert list(request.groups) == ["municipalities/x/groups/markt", "municipalities/x/groups/ring"]
    assert (request.nights, request.price_eur_per_kwh, request.co2_g_per_kwh) == (365, "0.25", 363)
    assert len(request.profile.points) == 4
    assert not request.omit_group_events
    document = json.loads(capsys.readouterr().out)
    assert [group["problem"][:9] for group in document["groups"]] == ["", "points[1]"]


def test_groups_of_a_town_come_with_their_own_figures_and_problems() -> None:
    figures = preview_pb2.PreviewFigures(
        lit_seconds=3600, energy_wh=1000, energy_sensors_active_wh=1500, cost_eur="0.30"
    )
    more = preview_pb2.PreviewFigures(lit_seconds=7200, energy_wh=4000, cost_eur="1.20", co2_g=500)
    group = preview_pb2.GroupPreview(
        group="municipalities/x/groups/markt", previewed=figures, current=more, full=more,
        levels_permille=[0, 500], level_seconds=[82_800, 3_600], luminaire_count=4,
        instants_unix_ms=[0], event_levels_permille=[500], local_times=["1970-01-01T01:00:00+01:00"], ramps_s=[60],
    )  # fmt: skip
    seen = pb.PreviewProfileResponse(groups=[group], previewed=figures, current=more, full=more)
    document = document_of(seen, "p", "2026-11-01", 1)
    [told] = document["groups"]
    assert told["less_than_current"] == {
        "lit_hours": 1.0, "energy_kwh": 3.0, "cost_eur": "0.90", "co2_kg": 0.5, "energy_percent": 75.0,
    }  # fmt: skip
    assert told["hours_by_level"][1] == {"level_permille": 500, "hours": 1.0}
    assert told["events"][0]["ramp_s"] == 60
    assert told["previewed"]["energy_sensors_active_kwh"] == 1.5
    unknown = document_of(pb.PreviewProfileResponse(energy_unknown="away", previewed=figures, full=more), "p", "x", 1)
    assert "energy_kwh" not in unknown["total"]["previewed"]


LATE = PROFILE.replace("level = 50", "level = 0")
"""A street that is dark from 22:30 on, and lit again at 04:30."""


def test_a_street_left_dark_is_warned_of_until_somebody_says_that_it_may_be(tmp_path: Path) -> None:
    """Nobody has said a floor: that is no decision of a council. One that is typed, `--floor 0`, is."""
    file = tmp_path / "late.toml"
    file.write_text(LATE, encoding="utf-8")
    november = ("--from", "2026-11-22", "--nights", "3")
    told = "off for up to 360 minutes within the civil night, in 3 nights from 2026-11-22 on: lighting refuses such a"

    def gaps(*options: str) -> list[str]:
        return [warning for warning in previewed(file, *november, *options)["warnings"] if "off for" in warning]

    for options in ((), ("--floor", "40"), ("--watts", "20"), ("--watts", "20", "--floor", "40")):
        [gap] = gaps(*options)
        assert told in gap
    for options in (("--floor", "0"), ("--watts", "20", "--floor", "0")):
        assert gaps(*options) == []


def test_a_floor_that_nobody_said_changes_no_energy(tmp_path: Path) -> None:
    file = tmp_path / "late.toml"
    file.write_text(LATE, encoding="utf-8")
    lamps = ("--from", "2026-11-22", "--nights", "3", "--watts", "20")
    unsaid, waived = previewed(file, *lamps), previewed(file, *lamps, "--floor", "0")
    assert unsaid["total"] == waived["total"]


def test_a_floor_is_held_against_the_levels_without_any_power(half_night: Path) -> None:
    seen = previewed(half_night, "--from", "2026-11-22", "--floor", "60")
    assert [warning for warning in seen["warnings"] if "50 % is below the floor of 60 % in 1 night" in warning]
    assert seen["energy_unknown"] == "no lamps are given (--watts)"
    assert "energy_kwh" not in seen["total"]["previewed"]
