"""What docs/profiles.md shows is what the command and the scheduler take and refuse."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from cli.commands.profiles import KEYS, read_profile
from domain.errors import InvalidInput
from services.scheduler.profile import Anchor, Place, Profile, SwitchPoint, check_year, parse_clock

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "profiles.md").read_text(encoding="utf-8")
BAD_HERSFELD = Place(50.87, 9.71, ZoneInfo("Europe/Berlin"))
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES, ids=["residential", "footpath"])
def test_an_example_holds_on_every_night_of_the_year(text: str, tmp_path: Path) -> None:
    file = tmp_path / "example.toml"
    file.write_text(text, encoding="utf-8")
    name, profile = read_profile(file)
    assert name in text
    assert len(profile.points) == 4
    check_year(profile, BAD_HERSFELD, date(2026, 11, 22))


def test_every_key_and_anchor_is_explained() -> None:
    assert not [key for key in KEYS if f"`{key}`" not in PAGE]
    assert not [anchor for anchor in Anchor if f"`{anchor.name.lower().replace('_', ' ')}`" not in PAGE]


def test_the_refusal_that_is_shown_is_the_one_that_is_given() -> None:
    late = SwitchPoint(Anchor.CLOCK, 500, clock_time=parse_clock("21:00", "time"))
    crossing = Profile((SwitchPoint(Anchor.SUNSET, 1000), late, SwitchPoint(Anchor.SUNRISE, 0)))
    with pytest.raises(InvalidInput) as refused:
        check_year(crossing, BAD_HERSFELD, date(2026, 11, 22))
    assert str(refused.value) in PAGE
