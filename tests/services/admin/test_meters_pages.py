"""The pages of meters, of readings by hand and of findings as simulated people see them, over real gRPC."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from nicegui import ElementFilter
from nicegui.testing import User
from nicegui.testing.user_interaction import UserInteraction

from domain.night import local_date, quarter_hours_of_day, unix_ms
from lichtbuch.metering.v1 import metering_pb2
from servicekit.convert import timestamp_to_proto
from services.admin.texts import words
from tests.services.admin.application import Application
from tests.services.admin.test_planning_pages import element, html, visible
from tests.services.admin.town_book import BERLIN
from tests.services.admin.town_buildings import metered, name
from tests.services.admin.town_services import ADMIN, OPERATOR, Town, TownServices
from tests.support import waiting

DE, EN = words("de"), words("en")
METERS, FINDINGS, READING = "/de/bad-hersfeld/meters", "/de/bad-hersfeld/findings", "/de/bad-hersfeld/readings/new"


PATIENCE_S = 120.0
"""A machine that does other things too takes its time; what waits goes on as soon as it can."""


async def eventually(condition: Callable[[], bool]) -> None:
    """Waits until a condition holds."""
    await waiting.eventually(condition, PATIENCE_S)


async def sees(user: User, *texts: str) -> None:
    """Waits for texts in what elements say."""
    for text in texts:
        await user.should_see(text, retries=int(PATIENCE_S * 10))


async def shows(user: User, *texts: str) -> None:
    """Waits for texts in what is written as HTML."""
    for text in texts:
        await eventually(lambda text=text: text in html(user))  # type: ignore[misc]


def lately(last: datetime) -> str:
    """A day whose month has days that are over, whatever day it is."""
    return (local_date(last, BERLIN) - timedelta(days=2)).isoformat()


def places(user: User) -> list[str]:
    with user:
        return [str(section.props["aria-label"]) for section in ElementFilter(marker="meter-place")]


def texts(user: User, marker: str) -> str:
    with user:
        found = list(ElementFilter(marker=marker))
    return " ".join(str(each.props.get("innerHTML", "")) or str(getattr(each, "text", "")) for each in found)


async def tells(user: User, marker: str, *parts: str) -> None:
    for part in parts:
        await eventually(lambda part=part: part in texts(user, marker))  # type: ignore[misc]


async def press(user: User, marker: str, label: str) -> None:
    """Presses the button of one thing among several."""

    def found() -> list[Any]:
        with user:
            return [each for each in ElementFilter(marker=marker) if label in str(each.props.get("aria-label", ""))]

    await eventually(lambda: len(found()) == 1)
    UserInteraction(user, set(found()), None).click()


def newest(user: User, marker: str) -> Any:
    """Of the dialogs that were opened, what is in the last one: a simulated browser hides none."""
    with user:
        return UserInteraction(user, {list(ElementFilter(marker=marker))[-1]}, None)


# --- the list --------------------------------------------------------------------------------------------------------


async def test_meters_stand_by_building_with_registers_under_their_device(application: Application, town: Town) -> None:
    metered(town)
    user = await application.open("viewer", METERS)
    await sees(user, "11 von 11 Zählern.")
    # Cabinets are called by their names as soon as lighting has told them: another call, which may end later.
    cabinet = "Schaltstelle C-001 Schaltstelle Mondgasse"
    await eventually(lambda: places(user) == ["Bauhof", "Grundschule", "Rathaus", "Stadthalle", cabinet])
    await shows(user, "Register von R-1", "hinter R-1", "Nr. 8SEN0023", "1.610,5 m³", "4.150 l", "vor 360 d", "98,")
    written = html(user)
    assert written.index("Strom Rathaus") < written.index("Einspeisung") < written.index("Küche")
    assert f'href="{METERS}/R-1"' in written


async def test_meters_are_found_by_number_medium_kind_and_what_stands_out(application: Application, town: Town) -> None:
    metered(town)
    user = await application.open("viewer", "/en/bad-hersfeld/meters", "en")
    await sees(user, "11 of 11 meters.")
    element(user, "meter-filter").value = "51238696780"
    await sees(user, "1 of 11 meters.")
    element(user, "meter-filter").value = ""
    element(user, "meter-medium").value = int(metering_pb2.MEDIUM_ELECTRICITY)
    await sees(user, "7 of 11 meters.")
    element(user, "meter-kind").value = int(metering_pb2.READING_KIND_VIRTUAL)
    await sees(user, "1 of 11 meters.")
    element(user, "meter-kind").value = element(user, "meter-medium").value = 0
    element(user, "meter-found").value = True
    await sees(user, "2 of 11 meters.")


async def test_a_town_without_meters_says_how_they_come(application: Application, town: Town) -> None:
    town.meters.clear()
    user = await application.open("viewer", METERS)
    await sees(user, DE["meters_none"])
    assert not visible(user, "reading-new")


async def test_meters_of_a_service_that_is_away_stay_and_say_so(
    application: Application, town: Town, services: TownServices
) -> None:
    metered(town)
    await services.stop("metering")
    user = await application.open("viewer", METERS)
    await sees(user, DE["problem_away"].format(service=DE["metering"]))
    await services.start("metering")
    await eventually(lambda: not visible(user, "meter-place"))


# --- one meter -------------------------------------------------------------------------------------------------------


async def test_a_meter_tells_what_it_is_what_it_counted_and_how_well(application: Application, town: Town) -> None:
    last = metered(town)
    user = await application.open("viewer", f"{METERS}/R-1?span=month&day={lately(last)}")
    await tells(user, "meter-title", "Strom Rathaus")
    await tells(user, "meter-pairs", "1EMH0815", "51238696780", "DE00012345678", "R-2 Küche", "R-1-EIN Einspeisung")
    await tells(user, "meter-lives", "am Zähler 0,5", "Wandler × 40", "getauscht oder ausgebaut")
    await tells(user, "consumption-tiles", "davon geschätzt", "durch Messwerte abgedeckt")
    await tells(user, "load-tiles", "36,0 kW", "16,0 kW")
    await tells(user, "compared", "+", "kWh")
    await tells(user, "compared-words", "je m² (2.000 m²)", DE["compared_uneven"])
    await tells(user, "losses-table", DE["loss_verdict_2"], DE["estimated_of_it"])
    await tells(user, "meter-findings-list", "58,88 €", "&lt;b&gt;seen&lt;/b&gt;")
    await eventually(lambda: not visible(user, "estimate"))
    assert "data-row" not in html(user)


def chart(user: User) -> dict[str, Any]:
    return dict(element(user, "consumption-chart").options)


async def test_a_day_is_a_load_profile_with_its_gap_hatched(application: Application, town: Town) -> None:
    last = metered(town)
    day = local_date(last, BERLIN) - timedelta(days=1)
    user = await application.open("viewer", f"{METERS}/R-1?span=day&day={day.isoformat()}")
    await eventually(lambda: visible(user, "consumption-chart"))
    measured, estimated = chart(user)["series"]
    clocks = [slot.astimezone(BERLIN).strftime("%H:%M") for slot in quarter_hours_of_day(day, BERLIN)]
    assert len(measured["data"]) == len(estimated["data"]) == len(clocks)
    gap, noon = clocks.index("10:15"), clocks.index("15:00")
    assert (estimated["data"][gap], measured["data"][gap]) == (36.0, 0.0)
    assert (estimated["data"][noon], measured["data"][noon]) == (0.0, 36.0)
    assert "decal" in estimated["itemStyle"]
    await tells(user, "consumption-table", "36,0 kW", " %")


async def test_periods_are_walked_through_and_another_length_keeps_the_day(
    application: Application, town: Town
) -> None:
    metered(town)
    user = await application.open("viewer", f"{METERS}/R-1?span=month&day=2026-10-15")
    await sees(user, "Okt 2026")
    user.find(marker="period-after").click()
    await sees(user, "Nov 2026")
    element(user, "period-span").value = "years"
    await sees(user, "2017–2026")
    element(user, "period-span").value = "month"
    await sees(user, "Nov 2026")
    element(user, "period-day").value = "2014-03-01"
    await sees(user, DE["consumption_uncovered"])


async def test_a_main_meter_tells_of_waste_that_shows_behind_it(application: Application, town: Town) -> None:
    last = metered(town)
    town.book.findings["deeper"] = metering_pb2.Finding(
        name="municipalities/bad-hersfeld/findings/deeper", meter=name("R-3"), meter_display_name="Server",
        rule="night_base_load_up", start_time=timestamp_to_proto(last), state=metering_pb2.FINDING_STATE_OPEN,
        detail="the night base load is 3400 W, usual are 3000 W", unit=metering_pb2.UNIT_WH,
    )  # fmt: skip
    user = await application.open("viewer", f"{METERS}/R-1")
    await tells(user, "meter-findings-behind-list", "Server", "Nachts laufen 3.400 W durch, üblich sind 3.000 W.")
    assert visible(user, "meter-findings-behind")


async def test_a_meter_read_once_a_year_tells_years_and_no_profile(application: Application, town: Town) -> None:
    metered(town)
    user = await application.open("viewer", f"{METERS}/W-1")
    await eventually(lambda: "–20" in texts(user, "period-name"))
    await tells(user, "consumption-tiles", "m³")
    element(user, "period-span").value = "month"
    await sees(user, DE["consumption_coarse"], DE["load_none"])


async def test_a_first_counter_is_told_of_what_somebody_hung_up_and_of_nothing_else(
    application: Application, town: Town
) -> None:
    metered(town)
    first = DE["life_first"].partition("{")[0]
    user = await application.open("viewer", f"{METERS}/R-1")
    await tells(user, "meter-lives", first)
    user = await application.open("viewer", f"{METERS}/R-1-EIN")
    await tells(user, "meter-lives", "1-1:2.8.0")
    assert first not in texts(user, "meter-lives")


async def test_gas_is_told_in_kwh_and_in_cubic_metres(application: Application, town: Town) -> None:
    last = metered(town)
    user = await application.open("viewer", f"{METERS}/G-1?span=month&day={lately(last)}")
    await tells(user, "consumption-tiles", "Wh")
    await tells(user, "compared", "Wh")
    element(user, "as-energy").value = False
    await tells(user, "consumption-tiles", "m³")
    await tells(user, "compared", "m³")
    assert visible(user, "weather")
    await eventually(lambda: "dwd-00232" in element(user, "weather").options)
    element(user, "weather").value = "dwd-00232"
    await tells(user, "compared", DE["compared_adjusted"])
    await tells(user, "compared-words", "330,0 K d", DE["compared_provisional"])


async def test_what_is_fed_in_is_called_so(application: Application, town: Town) -> None:
    metered(town)
    user = await application.open("viewer", f"{METERS}/R-1-EIN")
    await tells(user, "consumption-table", DE["meter_flow_2"])
    assert element(user, "consumption").props["aria-label"] == DE["meter_flow_2"]


async def test_a_sensor_has_values_and_no_consumption(application: Application, town: Town) -> None:
    metered(town)
    user = await application.open("viewer", f"{METERS}/T-1?span=day")
    await tells(user, "values-table", "°C")
    assert not visible(user, "consumption")
    assert not visible(user, "meter-figures")


async def test_a_meter_that_there_is_not_is_told(application: Application, town: Town) -> None:
    metered(town)
    user = await application.open("viewer", f"{METERS}/NONE")
    await sees(user, DE["meter_missing"])
    assert not visible(user, "consumption")


async def test_without_a_role_that_sees_meters_every_page_of_them_says_so(application: Application, town: Town) -> None:
    metered(town)
    for path in (METERS, f"{METERS}/R-1", FINDINGS):
        user = await application.open("planner", path)
        await sees(user, DE["problem_denied"])


# --- readings --------------------------------------------------------------------------------------------------------


async def test_a_reading_is_put_right_with_a_reason_and_the_old_one_stays(application: Application, town: Town) -> None:
    last = metered(town)
    user = await application.open("admin", f"{METERS}/R-2")
    await tells(user, "readings-table", "data-row")
    user.find(marker="readings-table").trigger("click", str(0))
    await sees(user, DE["reading_kept"])
    element(user, "edit-value").value = "zwölf"
    user.find(marker="edit-now").click()
    await eventually(lambda: element(user, "edit-value").error == DE["error_counter"].format(digits=3))
    element(user, "edit-value").value = "812,5"
    user.find(marker="edit-now").click()
    await eventually(lambda: element(user, "edit-reason").error == DE["error_required"])
    element(user, "edit-reason").value = "Zahlendreher"
    user.find(marker="edit-now").click()
    await tells(user, "readings-table", "Zahlendreher", "zuvor", DE["reading_status_6"], ADMIN)
    first = unix_ms(datetime.combine(local_date(last, BERLIN), datetime.min.time(), BERLIN))
    before, now = town.book.readings[name("R-2")][first]
    assert (before.status, now.status, now.value) == (1, metering_pb2.READING_STATUS_EDITED, 812_500)
    assert town.calls == [f"EditReadings {ADMIN}"]


async def test_gaps_are_filled_after_it_was_said_with_how_many_values(application: Application, town: Town) -> None:
    last = metered(town)
    user = await application.open("admin", f"{METERS}/R-1")
    await eventually(lambda: visible(user, "estimate"))
    user.find(marker="estimate").click()
    await eventually(lambda: visible(user, "estimate-try"))
    element(user, "estimate-first").value = (local_date(last, BERLIN) - timedelta(days=1)).isoformat()
    element(user, "estimate-last").value = local_date(last, BERLIN).isoformat()
    user.find(marker="estimate-try").click()
    await sees(user, "11 Werte würden ergänzt.")
    assert town.calls == []
    user.find(marker="estimate-store").click()
    await eventually(lambda: town.calls == [f"EstimateReadings {ADMIN}"])


# --- a reading by hand -----------------------------------------------------------------------------------------------


def save(user: User) -> None:
    user.find(marker="reading-fields").trigger("submit.prevent")


async def test_a_meter_is_found_by_its_number_and_read_by_hand(application: Application, town: Town) -> None:
    metered(town)
    user = await application.open("operator", READING)
    await sees(user, "Wasser Grundschule")
    user.find(marker="reading-search").type("8sen")
    await eventually(lambda: "Heizöl" not in html(user))
    user.find(marker="offered").click()
    await tells(user, "reading-last", "1.610,500 m³", "vor 360 d")
    assert "5 Stellen vor dem Komma, bis zu 3 danach" in str(element(user, "reading-value").props["hint"])
    element(user, "reading-value").value = "1.844,25"
    await tells(user, "reading-verdict", DE["reading_plausible"], "Seit der letzten Ablesung: 233,8 m³")
    save(user)
    save(user)
    await sees(user, "Gespeichert: Wasser Grundschule: 1.844,250 m³")
    held = max(town.book.readings[name("W-1")].items())[1]
    assert [(each.value, each.status, each.source) for each in held] == [
        (1_844_250, metering_pb2.READING_STATUS_HAND, "hand")
    ]
    assert town.calls == [f"IngestReadings {OPERATOR}"]


async def test_what_is_doubted_is_said_at_once_and_stored_only_when_confirmed(
    application: Application, town: Town
) -> None:
    metered(town)
    user = await application.open("operator", f"{READING}?meter=W-1")
    await tells(user, "reading-last", "1.610,500 m³")
    element(user, "reading-value").value = "160,5"
    await tells(user, "reading-verdict", DE["doubt_negative_step"])
    save(user)
    await sees(user, DE["reading_confirm"])
    element(user, "reading-value").value = "990000"
    await eventually(lambda: element(user, "reading-value").error == DE["error_digits"])
    element(user, "reading-value").value = "99000"
    await tells(user, "reading-verdict", "97.390 m³")
    town.book.largest_steps[name("W-1")] = 1_000
    element(user, "reading-value").value = "9900"
    await tells(user, "reading-verdict", DE["doubt_spike"])
    assert town.calls == []
    element(user, "reading-sure").value = True
    save(user)
    await sees(user, "Gespeichert: Wasser Grundschule: 9.900,000 m³")


async def test_a_transformer_s_meter_is_read_as_it_shows(application: Application, town: Town) -> None:
    metered(town)
    user = await application.open("operator", "/en/bad-hersfeld/readings/new?meter=R-1", "en")
    await tells(user, "reading-last", f"{town.meters[2].latest_value / 40_000:,.3f} kWh")
    assert element(user, "reading-value").props["hint"] == "5 digits before the point, up to 3 after it"
    element(user, "reading-at").value = "2014-05-01T12:00"
    element(user, "reading-value").value = "5.5"
    await tells(user, "reading-verdict", EN["reading_plausible"])
    save(user)
    await sees(user, "Stored: Strom Rathaus: 5.500 kWh")
    assert town.book.readings[name("R-1")][unix_ms(datetime(2014, 5, 1, 10, 0, tzinfo=UTC))][0].value == 220_000


async def test_a_reading_in_the_future_or_without_a_number_is_told_at_its_field(
    application: Application, town: Town
) -> None:
    metered(town)
    user = await application.open("operator", f"{READING}?meter=W-1")
    await tells(user, "reading-last", "1.610,500 m³")
    save(user)
    await eventually(lambda: element(user, "reading-value").error == DE["error_required"])
    element(user, "reading-value").value = "1,2345"
    await eventually(lambda: element(user, "reading-value").error == DE["error_counter"].format(digits=3))
    element(user, "reading-at").value = "2099-01-01T00:00"
    await eventually(lambda: element(user, "reading-at").error == DE["error_future"])
    save(user)
    assert town.calls == []


async def test_a_reading_that_nobody_answered_is_sent_again_and_stored_once(
    application: Application, town: Town, services: TownServices
) -> None:
    metered(town)
    user = await application.open("operator", f"{READING}?meter=W-1")
    await tells(user, "reading-last", "1.610,500 m³")
    element(user, "reading-value").value = "1844"
    await tells(user, "reading-verdict", DE["reading_plausible"])
    await services.stop("metering")
    save(user)
    await sees(user, DE["error_away"].format(service=DE["metering"]))
    await services.start("metering")

    def is_stored() -> bool:
        if len(town.book.readings[name("W-1")]) == 4:
            return True
        save(user)
        return False

    await eventually(is_stored)
    await sees(user, "Wasser Grundschule: 1.844,000 m³")
    assert len(max(town.book.readings[name("W-1")].items())[1]) == 1


async def test_who_may_not_enter_readings_is_told(application: Application, town: Town) -> None:
    metered(town)
    user = await application.open("viewer", READING)
    await sees(user, DE["error_denied"])
    assert not visible(user, "reading-search")


# --- stock -----------------------------------------------------------------------------------------------------------


async def test_a_delivery_is_recorded_once_and_can_be_taken_back(application: Application, town: Town) -> None:
    metered(town)
    user = await application.open("admin", f"{METERS}/O-1")
    await shows(user, "LS 2026-118", "4.870,50 €", "5.000 l")
    element(user, "delivery-at").value = "2026-11-02T08:30"
    element(user, "delivery-amount").value = "3.000"
    element(user, "delivery-cost").value = "2.950,25"
    element(user, "delivery-document").value = "LS 2026-204"
    user.find(marker="delivery-fields").trigger("submit.prevent")
    await shows(user, "LS 2026-204")
    made = next(each for each in town.book.deliveries.values() if each.document == "LS 2026-204")
    assert (made.amount, made.cost_cents) == (3_000, 295_025)
    await press(user, "delivery-withdraw", "3.000 l")
    await sees(user, DE["delivery_withdraw_title"])
    element(user, "withdraw-reason").value = "doppelt"
    user.find(marker="withdraw-now").click()
    await shows(user, "zurückgenommen: doppelt")


# --- findings --------------------------------------------------------------------------------------------------------


async def test_findings_say_what_where_how_much_and_what_it_costs(application: Application, town: Town) -> None:
    metered(town)
    user = await application.open("viewer", FINDINGS)
    await sees(user, "2 stehen an, geschätzt 298,28 € zu viel.", "Auffälligkeiten (2)")
    await shows(user, "Wasser läuft ohne Pause", "Grundschule · Wasser Grundschule", "42,0 m³ zu viel", "239,40 €")
    await shows(user, "Nachtgrundlast gestiegen", "184,0 kWh zu viel", "98,7 %")
    assert html(user).index("239,40") < html(user).index("58,88")
    await eventually(lambda: not visible(user, "finding-acknowledge"))
    element(user, "finding-past").value = True
    await shows(user, "Heizung läuft bei warmem Wetter", DE["finding_state_4"])


async def test_a_finding_is_acknowledged_and_closed_with_a_note(application: Application, town: Town) -> None:
    metered(town)
    user = await application.open("operator", FINDINGS)
    await press(user, "finding-acknowledge", "Wasser")
    element(user, "finding-note").value = "Hausmeister sieht nach"
    user.find(marker="finding-now").click()
    await shows(user, "Hausmeister sieht nach", f"quittiert von {OPERATOR}")
    await press(user, "finding-finding_close", "Wasser")
    newest(user, "finding-now").click()
    await eventually(lambda: newest(user, "finding-note").elements.copy().pop().error == DE["error_required"])
    newest(user, "finding-note").elements.copy().pop().value = "Spülkasten repariert"
    newest(user, "finding-now").click()
    await sees(user, "1 stehen an", "Auffälligkeiten (1)")
    assert town.calls == [f"AcknowledgeFinding {OPERATOR}", f"CloseFinding {OPERATOR}"]


async def test_a_finding_that_changed_meanwhile_is_not_closed(application: Application, town: Town) -> None:
    metered(town)
    user = await application.open("operator", FINDINGS)
    await press(user, "finding-finding_close", "Wasser")
    next(each for each in town.book.findings.values() if each.rule == "water_never_stops").etag = "2"
    element(user, "finding-note").value = "zu spät"
    user.find(marker="finding-now").click()
    await sees(user, DE["error_conflict"])
    assert town.calls == []


async def test_findings_can_be_taken_along(application: Application, town: Town) -> None:
    metered(town)
    user = await application.open("viewer", FINDINGS)
    await sees(user, "2 stehen an")
    element(user, "finding-filter").value = "schule"
    await sees(user, "1 von 2 passen.")
    user.find(marker="finding-csv").click()
    answer = await user.download.next()
    rows = answer.content.decode("utf-8-sig").splitlines()
    assert rows[0].startswith("finding,meter,meter_name,place,rule,since")
    assert len(rows) == 2
    assert "Wasser Grundschule,Grundschule,water_never_stops" in rows[1]
    assert ",42000,l,239.40,987,open," in rows[1]


async def test_a_town_in_which_nothing_stands_out_says_so(application: Application) -> None:
    user = await application.open("viewer", "/en/bad-hersfeld/findings", "en")
    await sees(user, EN["findings_none"])


@pytest.mark.parametrize("path", ["/de/bad-hersfeld/meters/R-1", "/en/bad-hersfeld/readings/new"])
async def test_the_way_to_another_language_keeps_the_page(application: Application, town: Town, path: str) -> None:
    metered(town)
    user = await application.open("admin", path, path[1:3])
    other = "/en" if path.startswith("/de") else "/de"
    with user:
        links = [str(each.props.get("href", "")) for each in ElementFilter()]
    assert other + path[3:] in links
