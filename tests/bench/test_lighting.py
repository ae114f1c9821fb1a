"""The lighting benchmarks work, and both sides come to the same. How fast they are, `make bench-lighting` says."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from bench.lighting import all_on, almanac, preview, sun
from bench.lighting.__main__ import parts
from bench.report import Report
from domain.sun import night_events
from services.scheduler.profile import Anchor, Profile, SwitchPoint


def test_every_part_is_found_by_its_number() -> None:
    found = parts()
    assert found["1"] is sun.run
    assert found["3"] is preview.run
    assert found["4"] is all_on.run
    assert list(found) == sorted(found)


def test_the_sun_is_within_a_second_of_the_converged_formula() -> None:
    report = Report()
    sun.run(report, True)
    [row] = report.comparisons
    assert row["items"] == 1000
    assert [verdict.met for verdict in report.verdicts if "converged" in verdict.claim] == [True]
    assert [verdict.value < 0.1 for verdict in report.verdicts if not verdict.at_least] == [True, True]


def test_the_almanac_finds_the_events_of_a_place_that_has_them() -> None:
    noon = datetime(2026, 11, 22, 11, tzinfo=UTC)
    found = night_events(50.87, 9.71, noon)
    ours = [found.sunset_s, found.sunrise_s, found.civil_dusk_s, found.civil_dawn_s]
    for mine, theirs in zip(ours, almanac.events(50.87, 9.71, noon.timestamp()), strict=True):
        assert math.isclose(float(mine), theirs, abs_tol=0.1)


def test_a_year_of_previews_comes_to_the_same_as_the_loop() -> None:
    report = Report()
    preview.run(report, True)
    assert not report.failures
    assert [verdict.met for verdict in report.verdicts if "largest difference" in verdict.claim] == [True]


def test_a_peer_that_comes_to_something_else_ends_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "NOW", 900)
    monkeypatch.setattr(preview, "_profile", lambda level: Profile(_other_points()))
    report = Report()
    preview.run(report, True)
    assert report.failures


def _other_points() -> tuple[SwitchPoint, ...]:
    return (
        SwitchPoint(Anchor.SUNSET, 1000, 600),
        SwitchPoint(Anchor.SUNRISE, 0),
    )


def test_all_on_lights_every_lamp_by_ours_and_by_the_peer() -> None:
    report = Report()
    all_on.run(report, True)
    assert not report.failures
    [row] = report.comparisons
    assert row["items"] == 400
    told = {verdict.claim: verdict.value for verdict in report.verdicts}
    assert any("the last of the lamps: confirmed" in claim for claim in told)
