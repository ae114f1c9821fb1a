"""The numbers of the rules and the file that changes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from domain.errors import InvalidInput
from services.metering.validation import table
from services.metering.validation.parameters import PARAMETERS, Parameters, load
from tests.services.metering.validation.making_series import HOUR, counter, intervals, office, sensor


def written(folder: Path, text: str) -> Path:
    file = folder / "rules.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_medium_of_the_file_comes_before_all_media_of_the_file_before_the_default(tmp_path: Path) -> None:
    file = written(tmp_path, "[stuck]\ncounter_h = 5\n[stuck.water]\ncounter_h = 7\n[zero.gas]\nenabled = false\n")
    parameters = load(file)
    assert parameters.of("stuck", "water")["counter_h"] == 7
    assert parameters.of("stuck", "heat")["counter_h"] == 5
    assert parameters.of("stuck", "heat")["winter_h"] == 168
    assert (parameters.of("zero", "gas")["enabled"], parameters.of("zero", "heat")["enabled"]) == (0, 1)
    assert load(None).of("stuck", "water")["counter_h"] == 1_200


def test_every_error_of_a_file_is_told_with_line_key_and_reason(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        "[stuk]\nx = 1\n[stuck]\ncounter_h = 1.5\nhours = 3\n[stuck.beer]\ncounter_h = 1\n[zero.gas]\nweeks = -1\n",
    )
    with pytest.raises(InvalidInput) as caught:
        load(file)
    found = [(one.field, one.reason) for one in caught.value.violations]
    assert [field for field, _ in found] == [f"rules.toml:{line}" for line in (1, 4, 5, 6, 9)]
    for (_, reason), words in zip(
        found, ("is no rule", "1.5 is not a whole", "stuck.hours", "is no medium", "not between"), strict=True
    ):
        assert words in reason


@pytest.mark.parametrize(
    ("rule", "name", "least", "most"),
    [("zero", "weeks", 1, 60), ("unit_break", "days", 1, 366), ("sum_check", "tolerance_permille", 0, 1_000)],
)
def test_numbers_that_no_series_could_be_looked_at_by_are_refused_with_their_bounds(
    tmp_path: Path, rule: str, name: str, least: int, most: int
) -> None:
    for value in (least - 1, most + 1, 10**12):
        with pytest.raises(InvalidInput) as caught:
            load(written(tmp_path, f"[{rule}]\n{name} = {value}\n"))
        (one,) = caught.value.violations
        assert one.field == "rules.toml:2"
        assert f"{rule}.{name}" in one.reason
        assert f"{value} is not between {least} and {most}" in one.reason
    for value in (least, most):
        assert load(written(tmp_path, f"[{rule}.gas]\n{name} = {value}\n")).of(rule, "gas")[name] == value


@pytest.mark.parametrize(
    ("rule", "name"), [(rule, name) for rule, parameters in PARAMETERS.items() for name in parameters]
)
def test_every_rule_looks_at_a_series_by_the_least_and_by_the_largest_of_its_numbers(rule: str, name: str) -> None:
    amounts = office(10)
    amounts[700:720] = 0
    amounts[840:] *= 1_000
    for value in (PARAMETERS[rule][name].least, PARAMETERS[rule][name].most):
        for series in (intervals(amounts), counter(np.cumsum(amounts), HOUR), sensor(amounts, HOUR)):
            _, doubtful = table.check(series, Parameters({(rule, "", name): value}))
            assert len(doubtful) == len(amounts)


def test_broken_toml_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"rules\.toml:2"):
        load(written(tmp_path, "[stuck]\ncounter_h = \n"))


def test_every_rule_has_parameters_a_docstring_and_a_place_in_the_table() -> None:
    assert {entry.name for entry in table.RULES} | {"sum_check"} == set(PARAMETERS)
    assert all(entry.rule.__doc__ and entry.rule.__name__ == entry.name for entry in table.RULES)


def test_the_document_has_every_rule_and_every_parameter_with_its_defaults() -> None:
    document = (Path(__file__).resolve().parents[4] / "docs" / "metering.md").read_text(encoding="utf-8")
    lines = document.splitlines()
    for rule, parameters in PARAMETERS.items():
        assert any(line.startswith(f"| `{rule}` |") for line in lines), rule
        for name, one in parameters.items():
            media = ", ".join(f"{medium} {value}" for medium, value in one.media.items())
            assert f"| `{rule}` | `{name}` | {one.default} | {media} | {one.meaning} |" in lines, name
