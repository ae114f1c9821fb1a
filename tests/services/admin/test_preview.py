"""What a preview shows: sums, nights, the year and files, worked out without a page."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from domain.instants import unix_ms
from domain.night import night_bounds, zone
from lichtbuch.scheduler.v1 import preview_pb2, scheduler_pb2
from servicekit.convert import date_to_proto
from services.admin.preview import (
    Event,
    Outlook,
    curve_of_night,
    events_csv,
    events_of_night,
    levels_of,
    months_csv,
    outlook_from_proto,
    picture_of,
)

BERLIN = zone("Europe/Berlin")
NIGHT = date(2026, 11, 22)


def at(day: date, clock: str) -> datetime:
    """An instant of the town's clocks."""
    return datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=BERLIN).astimezone(UTC)


def night(day: date) -> list[Event]:
    """Full from five in the evening, half from ten, off at seven."""
    morning = day + timedelta(days=1)
    return [Event(at(day, "17:00"), 1000), Event(at(day, "22:00"), 500, 600), Event(at(morning, "07:00"), 0)]


def figures(wh: int) -> preview_pb2.PreviewFigures:
    return preview_pb2.PreviewFigures(
        lit_seconds=50_400, full_light_equivalent_seconds=34_200, energy_wh=wh, energy_sensors_active_wh=2 * wh,
        cost_eur=str(Decimal(wh) * 3 / 10_000), co2_g=wh * 363 // 1000,
    )  # fmt: skip


def outlook(*, known: bool = True) -> Outlook:
    request = scheduler_pb2.PreviewProfileRequest(first_night=date_to_proto(NIGHT), nights=1)
    events = night(NIGHT)
    answer = scheduler_pb2.PreviewProfileResponse(
        instants_unix_ms=[unix_ms(event.at) for event in events],
        levels_permille=[event.level_permille for event in events],
        ramps_s=[event.ramp_s for event in events],
        previewed=figures(1000), full=figures(3000), warnings=["below the floor"],
        energy_unknown="" if known else "nobody knows", price_eur_per_kwh="0.30", co2_g_per_kwh=363,
    )  # fmt: skip
    if known:
        answer.current.CopyFrom(figures(2000))
        group = answer.groups.add(group="municipalities/m/groups/park", warnings=["dark night"], luminaire_count=3)
        group.instants_unix_ms[:], group.event_levels_permille[:] = answer.instants_unix_ms, answer.levels_permille
        group.levels_permille[:], group.level_seconds[:] = [0, 500, 1000], [36_000, 32_400, 18_000]
        group.previewed.CopyFrom(figures(1000))
        answer.groups.add(group="municipalities/m/groups/bad", problem="points cross on 2026-12-01")
    answer.months.add(month="2026-11", previewed=figures(1000), full=figures(3000))
    return outlook_from_proto(request, answer, BERLIN)


def test_an_outlook_stands_beside_now_and_full_light() -> None:
    total = outlook().total
    assert total.current is not None
    assert (total.previewed.energy_wh, total.current.energy_wh, total.full.energy_wh) == (1000, 2000, 3000)
    assert total.previewed.cost_eur == Decimal("0.3")


def test_what_is_not_known_is_not_told_as_nothing() -> None:
    found = outlook(known=False)
    assert (found.total.previewed.energy_wh, found.total.previewed.cost_eur) == (None, None)
    assert found.total.current is None
    assert found.energy_unknown == "nobody knows"


def test_a_cabinet_counts_what_is_no_lighting_of_the_town_too() -> None:
    request = scheduler_pb2.PreviewProfileRequest(first_night=date_to_proto(NIGHT), nights=1)
    load = preview_pb2.ForeignLoadPreview(display_name="Weihnachtslichter", energy_wh=400)
    share = preview_pb2.CabinetPreview(
        cabinet="c", luminaire_count=3, previewed_wh=1000, current_wh=2000, foreign_loads=[load], foreign_wh=400,
        total_wh=1400,
    )  # fmt: skip
    answer = scheduler_pb2.PreviewProfileResponse(cabinets=[share])
    [found] = outlook_from_proto(request, answer, BERLIN).cabinets
    assert (found.total_wh, found.foreign_wh, found.foreign) == (1400, 400, ("Weihnachtslichter",))


def test_problems_of_groups_are_warnings_with_their_name() -> None:
    park, bad = "municipalities/m/groups/park", "municipalities/m/groups/bad"
    assert outlook().warnings == (("", "below the floor"), (park, "dark night"), (bad, "points cross on 2026-12-01"))


def test_hours_per_level_are_those_of_the_groups_or_of_the_events() -> None:
    assert outlook().levels == ((0, 36_000), (500, 32_400), (1000, 18_000))
    assert outlook(known=False).levels == ((500, 32_400), (1000, 18_000))
    assert levels_of([], NOON) == ()


NOON = night_bounds(NIGHT, BERLIN)[1]


def test_the_curve_of_a_night_runs_from_noon_to_noon_and_shows_ramps() -> None:
    points = dict(curve_of_night(night(NIGHT), NIGHT, BERLIN))
    assert len(points) == 288
    assert (points["12:05"], points["17:00"], points["22:00"], points["22:05"], points["22:10"]) == (
        0,
        100,
        100,
        75,
        50,
    )
    assert (points["06:55"], points["07:00"]) == (50, 0)


def test_a_night_with_a_change_of_clocks_is_an_hour_longer_or_shorter() -> None:
    autumn, spring = date(2026, 10, 24), date(2027, 3, 27)
    assert len(curve_of_night(night(autumn), autumn, BERLIN)) == 25 * 12 + 1
    assert len(curve_of_night(night(spring), spring, BERLIN)) == 23 * 12 + 1


def test_the_events_of_a_night_are_those_before_the_next_noon() -> None:
    two = [*night(NIGHT), *night(NIGHT + timedelta(days=1))]
    assert events_of_night(two, NIGHT, BERLIN) == tuple(two[:3])
    assert events_of_night(two, NIGHT + timedelta(days=5), BERLIN) == ()


def test_the_picture_of_a_year_has_every_night_with_its_sun() -> None:
    events = [event for number in range(365) for event in night(NIGHT + timedelta(days=number))]
    picture = picture_of(events, NIGHT, 365, BERLIN, (50.87, 9.71))
    assert (len(picture.days), len(picture.dark), len(picture.lit)) == (365, 365, 730)
    assert picture.lit[0] == (0, 5.0, 10.0, 1000)
    assert picture.lit[1] == (0, 10.0, 19.0, 500)
    number, sunset, sunrise = picture.dark[0]
    assert number == 0
    assert 4.3 < sunset < 4.5
    assert 19.7 < sunrise < 19.9


def test_a_lamp_that_burns_over_noon_is_shown_in_both_nights() -> None:
    picture = picture_of([Event(at(NIGHT, "18:00"), 1000)], NIGHT, 2, BERLIN, None)
    assert picture.dark == ()
    assert picture.lit == ((0, 6.0, 24.0, 1000), (1, 0.0, 24.0, 1000))


def test_where_the_sun_does_not_set_there_is_no_dark_band() -> None:
    assert picture_of([], date(2026, 6, 21), 3, BERLIN, (69.6, 18.9)).dark == ()


def test_the_file_of_events_has_utc_and_local_time_with_its_offset() -> None:
    lines = events_csv(outlook(), BERLIN).splitlines()
    assert lines[0] == "group,utc,local,level_percent,ramp_s"
    assert lines[1] == "park,2026-11-22T16:00:00+00:00,2026-11-22T17:00:00+01:00,100,0"
    assert len(lines) == 4


def test_the_file_of_months_has_what_is_known() -> None:
    lines = months_csv(outlook()).splitlines()
    assert lines[1] == "2026-11,previewed,14,9.5,1,2,0.3,0.363"
    assert [line.split(",")[:2] for line in lines[2:]] == [
        ["2026-11", "full"], ["total", "previewed"], ["total", "current"], ["total", "full"],
    ]  # fmt: skip
    assert months_csv(outlook(known=False)).splitlines()[1] == "2026-11,previewed,14,9.5,,,,"
