"""Profiles as text: read as the command line reads them, written so that they can be read again."""

import re
from pathlib import Path

import pytest

from cli.nights.profile_files import read_profile
from domain.errors import InvalidInput, Violation
from lichtbuch.scheduler.v1 import scheduler_pb2
from services.admin.profile_text import MAX_BYTES, places, profile_from_text, text_of_profile
from services.scheduler.convert import profile_from_proto

TOWN = "municipalities/bad-hersfeld"
DOCS = Path(__file__).resolve().parents[3] / "docs" / "profiles.md"
EXAMPLES = [
    block for block in re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    if block.count("[[points]]") > 1
]  # fmt: skip
POINT = '[[points]]\nanchor = "sunset"\n'


@pytest.mark.parametrize("text", EXAMPLES, ids=range(len(EXAMPLES)))
def test_what_the_documentation_shows_is_read_as_the_command_line_reads_it(text: str, tmp_path: Path) -> None:
    (tmp_path / "profile.toml").write_text(text, encoding="utf-8")
    name, expected = read_profile(tmp_path / "profile.toml")
    found = profile_from_text(text, TOWN)
    assert (found.display_name, profile_from_proto(found)) == (name, expected)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("text", EXAMPLES, ids=range(len(EXAMPLES)))
def test_what_is_written_is_read_again_the_same(text: str) -> None:
    profile = profile_from_text(text, TOWN)
    assert profile_from_text(text_of_profile(profile), TOWN) == profile


def test_names_and_thresholds_survive_the_way_through_text() -> None:
    profile = profile_from_text(
        POINT + 'level = 12.5\n[[rules]]\nkind = "rain"\noperation = "mul"\nfactor = 1.125\non = 0.5\nsensor = "roof"',
        TOWN,
    )
    profile.display_name = 'Straße "A"\\B\n\x7f€'
    assert profile.points[0].level_permille == 125
    assert (profile.rules[0].value_permille, profile.rules[0].on_milli) == (1125, 500)
    assert profile.rules[0].sensor == f"{TOWN}/sensors/roof"
    assert profile_from_text(text_of_profile(profile), TOWN) == profile


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("points = 3", "file.points: is no list"),
        ("", "points: at least one"),
        ("a = [", "file: "),
        (POINT, "points[0].level: give either"),
        (POINT + "level = 101", "points[0].level: '101' is no level"),
        (POINT + "level = true", "points[0].level: 'True' is no level"),
        (POINT + "level = 5\nlevel_permille = 50", "points[0].level: give either"),
        (POINT + "level = 5\nbrightness = 1", "points[0].brightness: is unknown"),
        (POINT + 'level = 5\ntime = "24:00"', "points[0].time: '24:00' is no clock time"),
        (POINT + "level = 5\noffset_s = 1e3", "points[0].offset_s: "),
        (POINT + "level = 5\noffset_s = 99999999999", "points[0].offset_s: "),
        (POINT + "level = 5\nelevation_deg = nan", "points[0].elevation_deg: "),
        ('[[points]]\nanchor = "moonrise"\nlevel = 5', "points[0].anchor: 'moonrise' is none of sunset, sunrise"),
        (POINT + 'level = 0\n[[rules]]\nkind = "rain"\noperation = "set"\nvalue = 1', "rules[0].on: is needed"),
        (POINT + 'level = 0\n[[rules]]\nkind = "rain"\noperation = "mul"\non = 1', "rules[0].factor: is what"),
        (POINT + 'level = 0\n[[rules]]\nkind = "rain"\noperation = "set"\nvalue = 1\non = 0.0001', "rules[0].on: "),
        (POINT + 'level = 0\n[[rules]]\nkind = "rain"\noperation = "set"\nvalue = 1\non = inf', "rules[0].on: "),
    ],
)
def test_what_is_wrong_in_a_text_is_told_with_its_place(text: str, place: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        profile_from_text(text, TOWN)
    assert any(each.startswith(place) for each in places(caught.value)), places(caught.value)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        profile_from_text('[[points]]\nanchor = "x"\nlevel = 200\nramp_s = "slow"', TOWN)
    assert len(caught.value.violations) == 3


def test_a_text_beyond_all_measure_is_not_read() -> None:
    with pytest.raises(InvalidInput, match="larger than"):
        profile_from_text("#" * (MAX_BYTES + 1), TOWN)


def test_what_the_scheduler_finds_wrong_is_told_by_the_places_of_the_text() -> None:
    error = InvalidInput("no", (Violation("profile.points[1].level_permille", "is under 0"),))
    assert places(error) == ["points[1].level_permille: is under 0"]


def test_an_empty_profile_is_an_empty_text() -> None:
    assert text_of_profile(scheduler_pb2.Profile()) == "\n"
