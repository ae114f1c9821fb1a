"""What the pages of waivers, sensors and lists show, worked out without a page."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from cli.commands.faults import write_csv
from domain.night import zone
from lichtbuch.lighting.v1 import commissioning_pb2, faults_pb2, sensors_pb2, waivers_pb2
from lichtbuch.scheduler.v1 import scheduler_pb2
from lichtbuch.type.v1 import types_pb2
from servicekit.convert import timestamp_to_proto
from services.admin.fault_list import fault_row, faults_csv
from services.admin.formats import Formats
from services.admin.lamps import Lamp
from services.admin.pages.fields import day_of, day_start, instant_of, lamps_named, permille_of
from services.admin.protections import by_state, unprotected_from_proto
from services.admin.sensors import SensorNow, SensorUse, sensors_from_proto, used_by, uses_of
from services.admin.waivers import Standing, WaiverNow, ordered, standing, waiver_from_proto
from tests.services.admin.test_faults_page import three

BERLIN = zone("Europe/Berlin")
NOW = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
TOWN = "municipalities/bad-hersfeld"


def waiver(identity: str, start_days: int, review_days: int, *targets: str, **changes: Any) -> WaiverNow:
    found = WaiverNow(
        name=identity, targets=targets or ("groups/park",), floor_permille=0, decision="2026/1",
        decided_on=date(2024, 1, 9), start_at=NOW + timedelta(days=start_days),
        review_at=NOW + timedelta(days=review_days), sign_at_pole=True, reason="", author="",
    )  # fmt: skip
    return replace(found, **changes)


def test_what_is_past_its_review_stands_first_and_what_is_over_last() -> None:
    found = ordered(
        [
            waiver("over", -900, -10, released_at=NOW - timedelta(days=300)),
            waiver("coming", 5, 500),
            waiver("holds", -5, 400),
            waiver("ends soon", -5, 20),
            waiver("due", -900, -10, "groups/path"),
            waiver("long due", -900, -100, "groups/yard"),
        ],
        NOW,
    )
    assert [item.name for _, item in found] == ["long due", "due", "ends soon", "holds", "coming", "over"]


def test_a_waiver_that_was_decided_anew_asks_for_nothing() -> None:
    old = waiver("old", -900, -10, "groups/park", "groups/path")
    half = [old, waiver("new", -9, 900, "groups/park")]
    whole = [*half, waiver("also new", 3, 900, "groups/path")]
    assert standing(old, half, NOW) is Standing.DUE
    assert standing(old, whole, NOW) is Standing.OVER
    taken_back = [old, waiver("new", -9, 900, *old.targets, released_at=NOW - timedelta(days=1))]
    assert standing(old, taken_back, NOW) is Standing.DUE


def test_at_the_instant_of_its_review_a_waiver_holds_no_more() -> None:
    ends = waiver("ends", -5, 0)
    assert standing(ends, [ends], NOW) is Standing.DUE
    assert standing(ends, [ends], NOW - timedelta(seconds=1)) is Standing.HOLDS


def test_ninety_days_before_its_review_a_waiver_says_so() -> None:
    assert waiver("near", -5, 90).is_soon(NOW)
    assert not waiver("far", -5, 91).is_soon(NOW)
    assert not waiver("released", -5, 30, released_at=NOW).is_soon(NOW)


def test_a_waiver_comes_out_of_its_message() -> None:
    message = waivers_pb2.Waiver(
        name="w", targets=[TOWN], floor_permille=200, decision_reference="StVV 7",
        decided_on=types_pb2.Date(year=2026, month=2, day=3), start_time=timestamp_to_proto(NOW),
        review_time=timestamp_to_proto(NOW + timedelta(days=9)),
    )  # fmt: skip
    found = waiver_from_proto(message)
    assert (found.decision, found.decided_on, found.released_at) == ("StVV 7", date(2026, 2, 3), None)


def sensor(identity: str, kind: int, *groups: str) -> SensorNow:
    return SensorNow(f"{TOWN}/sensors/{identity}", identity, kind, groups, "", "", 600, "")


def test_a_sensor_that_never_said_anything_has_no_value() -> None:
    names = [f"{TOWN}/sensors/{identity}" for identity in ("rain", "path")]
    kind = types_pb2.SENSOR_KIND_RAIN
    said = sensors_pb2.SensorState(name=names[0], value=0.0, observed_at=timestamp_to_proto(NOW), age_s=9, fresh=True)
    found = sensors_from_proto([sensors_pb2.Sensor(name=name, kind=kind) for name in names], [said])
    assert [(item.value, item.fresh, item.is_sent) for item in found] == [(0.0, True, True), (None, False, True)]


def test_rules_listen_by_name_or_by_kind_where_a_group_of_theirs_is_served() -> None:
    traffic, rain = types_pb2.SENSOR_KIND_TRAFFIC, types_pb2.SENSOR_KIND_RAIN
    rule = scheduler_pb2.SensorRule
    profiles = [
        scheduler_pb2.Profile(name="p/any", display_name="Any", rules=[rule(kind=traffic), rule(kind=rain)]),
        scheduler_pb2.Profile(name="p/named", rules=[rule(kind=traffic, sensor=f"{TOWN}/sensors/a")] * 2),
    ]
    calendars = [
        scheduler_pb2.Calendar(
            name="c/1", default_profile="p/other", rules=[scheduler_pb2.CalendarRule(profile="p/any")]
        )
    ]
    assignments = [scheduler_pb2.Assignment(group="groups/park", calendar="c/1")]
    uses = uses_of(profiles, calendars, assignments)
    assert uses == (
        SensorUse("Any", traffic, "", ("groups/park",), (1,)),
        SensorUse("Any", rain, "", ("groups/park",), (2,)),
        SensorUse("named", traffic, f"{TOWN}/sensors/a", (), (1, 2)),
    )
    assert [use.profile for use in used_by(sensor("a", traffic, "groups/yard"), uses)] == ["named"]
    assert [use.profile for use in used_by(sensor("a", traffic, "groups/park"), uses)] == ["Any", "named"]
    assert [use.rules for use in used_by(sensor("b", rain), uses)] == [(2,)]


def test_lamps_are_counted_by_what_keeps_them_from_being_protected() -> None:
    message = commissioning_pb2.LuminaireProtection(
        luminaire="l",
        state=commissioning_pb2.PROTECTION_STATE_NOT_CONFIRMED,
        power_on_permille=0,
        read_power_on_permille=-1,
    )
    lamp = unprotected_from_proto(message)
    assert (lamp.power_on, lamp.read_power_on, lamp.loss) == (0, -1, None)
    assert by_state([lamp, lamp, replace(lamp, state=2)]) == {5: 2, 2: 1}


def test_the_file_of_the_page_is_the_file_of_the_command_line(tmp_path: Any) -> None:
    faults = three()
    faults[0].text = "=cmd()"
    faults[0].kind = faults_pb2.FAULT_KIND_REPORTED
    rows = [fault_row(fault, BERLIN) for fault in faults]
    write_csv(tmp_path / "list.csv", rows)
    text = faults_csv(rows)
    assert (tmp_path / "list.csv").read_bytes() == text.encode()
    assert "'=cmd()" in text
    assert "2026-11-22T07:30:00+01:00" in text


@pytest.mark.parametrize(("percent", "permille"), [(12.34, 123), ("0", 0), (99.9, 999), (100, None), ("much", None)])
def test_a_floor_is_less_than_full_light(percent: object, permille: int | None) -> None:
    assert permille_of(percent, 999) == permille


def test_days_and_instants_are_those_of_the_towns_clocks() -> None:
    assert day_start(date(2027, 7, 1), BERLIN) == datetime(2027, 6, 30, 22, 0, tzinfo=UTC)
    assert instant_of("2026-12-01T18:00", BERLIN) == datetime(2026, 12, 1, 17, 0, tzinfo=UTC)
    assert (instant_of("soon", BERLIN), day_of(""), day_of("1.7.2027")) == (None, None, None)


def test_several_lamps_are_named_with_commas_and_what_means_none_is_said() -> None:
    lamps = [Lamp(f"{TOWN}/luminaires/L-{number}", 0.0, 0.0, pole=str(70 + number)) for number in (1, 2, 3)]
    assert lamps_named(lamps, "L-1, 72,L-1,") == ((lamps[0].name, lamps[1].name), ())
    assert lamps_named(lamps, "L-1; L-2") == ((), ("L-1; L-2",))
    assert lamps_named(lamps, "L-, 9") == ((), ("L-", "9"))


def test_instants_say_their_zone_in_the_language_of_the_page() -> None:
    german, english = Formats("de", BERLIN), Formats("en", BERLIN)
    assert german.zoned(NOW) == "So 22.11.2026, 21:00 MEZ"
    assert english.zoned(NOW - timedelta(days=150)) == "Thu 25/06/2026, 22:00 CEST"
    assert [german.span(seconds) for seconds in (5, 119, 600, 7200, 400_000)] == [
        "5 s",
        "119 s",
        "10 min",
        "2 h",
        "4 d",
    ]
