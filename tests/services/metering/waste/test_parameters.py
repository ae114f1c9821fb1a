"""The numbers of the waste watch: what holds for a medium, what a file changes, and that the document has them all."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain.errors import InvalidInput
from services.metering.meter import Medium
from services.metering.settings import MeteringSettings
from services.metering.waste.parameters import TABLE, WasteRules, load
from services.metering.waste.watch import LeakParameters, NightParameters, WarmParameters, WeekendParameters


def written(folder: Path, text: str) -> Path:
    file = folder / "waste.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_without_a_file_each_rule_looks_at_the_media_that_it_was_made_for() -> None:
    rules = WasteRules()
    assert rules.night(Medium.ELECTRICITY) == NightParameters()
    assert (rules.night(Medium.HEAT), rules.night(Medium.WATER)) == (None, None)
    assert rules.weekend(Medium.WATER) == WeekendParameters(share_permille=200)
    assert rules.weekend(Medium.GAS) == WeekendParameters(share_permille=600, rhythm_permille=300)
    assert rules.weekend(Medium.OIL) is None
    assert (rules.leak(Medium.WATER), rules.leak(Medium.GAS)) == (LeakParameters(), None)
    assert (rules.warm(Medium.HEAT), rules.warm(Medium.ELECTRICITY)) == (WarmParameters(), None)


def test_a_file_changes_numbers_for_all_media_or_one_and_turns_rules_on_and_off(tmp_path: Path) -> None:
    rules = load(
        written(
            tmp_path,
            "[night_base_load_up]\nleast_rate = 100\n[night_base_load_up.heat]\nenabled = 1\nleast_rate = 2000\n"
            "[water_never_stops]\nenabled = false\n[weekend_use.water]\ndays = 4\n",
        )
    )
    assert rules.night(Medium.ELECTRICITY) == NightParameters(least_rate=100)
    assert rules.night(Medium.HEAT) == NightParameters(least_rate=2_000)
    assert rules.leak(Medium.WATER) is None
    assert rules.weekend(Medium.WATER) == WeekendParameters(share_permille=200, days=4)
    assert rules.weekend(Medium.ELECTRICITY) == WeekendParameters()
    assert load(None) == WasteRules()


def test_a_wrong_file_is_refused_with_every_line_that_is_wrong(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        "[night_base_load]\nrecent = 3\n[weekend_use]\ndays = 0\nnights = 2\n[weekend_use.beer]\ndays = 1\n"
        "[water_never_stops]\ndays = 2.5\n",
    )
    with pytest.raises(InvalidInput) as refused:
        load(file)
    found = [(one.field, one.reason) for one in refused.value.violations]
    assert [field for field, _ in found] == [f"waste.toml:{line}" for line in (1, 4, 5, 6, 9)]
    words = ("is no rule", "0 is not between 1", "is no parameter", "is no medium", "2.5 is not a whole number")
    for (_, reason), word in zip(found, words, strict=True):
        assert word in reason


def test_the_settings_name_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LICHTBUCH_WASTE_RULES", str(written(tmp_path, "[water_never_stops]\ndays = 9\n")))
    assert load(MeteringSettings().waste_rules).leak(Medium.WATER) == LeakParameters(days=9)


def test_the_document_has_every_parameter_with_its_defaults() -> None:
    document = (Path(__file__).resolve().parents[4] / "docs" / "metering.md").read_text(encoding="utf-8")
    lines = document.splitlines()
    for rule, parameters in TABLE.items():
        for name, one in parameters.items():
            media = ", ".join(f"{medium} {value}" for medium, value in one.media.items())
            assert f"| `{rule}` | `{name}` | {one.default} | {media} | {one.meaning} |" in lines
