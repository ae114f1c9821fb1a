"""Readings on the page of a meter, by hand, and deliveries, as simulated people see them, over real gRPC."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from nicegui.testing import User

from domain.errors import FailedPrecondition, Unavailable
from domain.night import local_date, unix_ms
from lichtbuch.metering.v1 import metering_pb2
from services.admin.metering import Fill, Metering
from tests.services.admin.application import Application
from tests.services.admin.meter_pages import DE, EN, METERS, READING, eventually, press, sees, shows, tells, texts
from tests.services.admin.test_planning_pages import element, html, visible
from tests.services.admin.town_book import BERLIN
from tests.services.admin.town_buildings import metered, name
from tests.services.admin.town_services import ADMIN, OPERATOR, Town, TownServices

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


async def test_estimates_that_nobody_answered_for_keep_their_request_over_a_refused_trial(
    application: Application, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = metered(town)
    estimate, requests = Metering.estimate, list[str]()
    errors = {2: Unavailable("nobody answers"), 3: FailedPrecondition.of("name", "not now")}

    async def scripted(metering: Metering, *wanted: Any) -> Fill:
        requests.append(wanted[-1])
        if len(requests) in errors:
            raise errors[len(requests)]
        return await estimate(metering, *wanted)

    monkeypatch.setattr(Metering, "estimate", scripted)
    user = await application.open("admin", f"{METERS}/R-1")
    await eventually(lambda: visible(user, "estimate"))
    user.find(marker="estimate").click()
    await eventually(lambda: visible(user, "estimate-try"))
    for mark in ("estimate-first", "estimate-last"):
        element(user, mark).value = (local_date(last, BERLIN) - timedelta(days=1)).isoformat()
    for count, mark in enumerate(("try", "store", "try", "try"), start=1):
        user.find(marker=f"estimate-{mark}").click()
        await eventually(lambda count=count: len(requests) == count and element(user, "estimate-try").enabled)  # type: ignore[misc]
    await eventually(lambda: element(user, "estimate-store").enabled)
    user.find(marker="estimate-store").click()
    await eventually(lambda: town.calls == [f"EstimateReadings {ADMIN}"])
    assert [bool(each) for each in requests] == [False, True, False, False, True]
    assert requests[1] == requests[4]


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
    last = metered(town)
    user = await application.open("operator", "/en/bad-hersfeld/readings/new?meter=R-1", "en")
    digits = "5 digits before the point, up to 3 after it"
    await eventually(lambda: element(user, "reading-value").props.get("hint") == digits)
    # In the minute of a quarter hour the last reading before now is not the newest one.
    newest = f"{town.meters[2].latest_value / 40_000:,.3f} kWh"
    element(user, "reading-at").value = f"{(last - timedelta(days=2)).astimezone(BERLIN):%Y-%m-%dT%H:%M}"
    await eventually(lambda: "kWh" in texts(user, "reading-last") and newest not in texts(user, "reading-last"))
    element(user, "reading-at").value = f"{(last + timedelta(minutes=1)).astimezone(BERLIN):%Y-%m-%dT%H:%M}"
    await tells(user, "reading-last", newest)
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
