"""The list of meters and the page of one, as simulated people see them, over real gRPC."""

from datetime import timedelta
from typing import Any

import pytest
from nicegui import ElementFilter
from nicegui.testing import User

from domain.night import local_date, quarter_hours_of_day
from lichtbuch.metering.v1 import metering_pb2
from servicekit.convert import timestamp_to_proto
from tests.services.admin.application import Application
from tests.services.admin.meter_pages import (
    DE,
    FINDINGS,
    METERS,
    eventually,
    lately,
    places,
    sees,
    shows,
    tells,
    texts,
)
from tests.services.admin.test_planning_pages import element, html, visible
from tests.services.admin.town_book import BERLIN
from tests.services.admin.town_buildings import metered, name
from tests.services.admin.town_services import Town, TownServices

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
    await tells(user, "load-tiles", "36,0 kW", "16,0 kW", DE["load_factor"], " %")
    await tells(user, "compared", "+", "kWh")
    await tells(user, "compared-words", "je m² (2.000 m²)", DE["compared_uneven"])
    await tells(user, "losses-table", DE["loss_verdict_2"], DE["losses_estimated"])
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
    await tells(user, "compared-words", "330,0 K d", DE["compared_provisional"], "Je Heizgradtag (K d): ", " m³,")


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


@pytest.mark.parametrize("path", ["/de/bad-hersfeld/meters/R-1", "/en/bad-hersfeld/readings/new"])
async def test_the_way_to_another_language_keeps_the_page(application: Application, town: Town, path: str) -> None:
    metered(town)
    user = await application.open("admin", path, path[1:3])
    other = "/en" if path.startswith("/de") else "/de"
    with user:
        links = [str(each.props.get("href", "")) for each in ElementFilter()]
    assert other + path[3:] in links
