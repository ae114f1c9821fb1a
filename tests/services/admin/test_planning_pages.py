"""The pages of waivers, sensors, failure behaviour and previews as simulated people see them, over real gRPC."""

from datetime import timedelta
from typing import Any

import pytest
from nicegui import ElementFilter, events
from nicegui.testing import User

from services.admin.texts import words
from tests.services.admin.application import Application
from tests.services.admin.test_faults_page import three
from tests.services.admin.town_planning import RESIDENTIAL, plan
from tests.services.admin.town_services import ADMIN, Town, TownServices, name
from tests.support.waiting import eventually

PATIENCE = 300
DE, EN = words("de"), words("en")


async def sees(user: User, *texts: str) -> None:
    for text in texts:
        await user.should_see(text, retries=PATIENCE)


def element(user: User, marker: str) -> Any:
    with user:
        return next(iter(ElementFilter(marker=marker)))


def visible(user: User, marker: str) -> bool:
    with user:
        found = list(ElementFilter(marker=marker))
    return any(all(each.visible for each in one.ancestors(include_self=True)) for one in found)


def html(user: User) -> str:
    with user:
        return " ".join(str(each.props.get("innerHTML", "")) for each in ElementFilter() if "innerHTML" in each.props)


async def shows(user: User, *texts: str) -> None:
    """Waits for texts in what is written as HTML."""
    for text in texts:
        await eventually(lambda text=text: text in html(user))  # type: ignore[misc]


# --- waivers ---------------------------------------------------------------------------------------------------------


async def test_decisions_stand_by_what_they_ask_of_people(application: Application, town: Town) -> None:
    plan(town)
    user = await application.open("viewer", "/de/bad-hersfeld/waivers")
    await sees(user, "1 über das Prüfdatum hinaus")
    with user:
        sections = [str(section.props["aria-label"]) for section in ElementFilter(marker="standing")]
    assert sections == [DE["standing_0"], DE["standing_1"], DE["standing_2"]]
    await shows(user, "darf dunkel sein", DE["waiver_soon"], "Beschluss StVV 2023-7 vom 2.5.2024", "mindestens 10 %")
    await eventually(lambda: not visible(user, "waiver-form") and not visible(user, "release-waiver"))


async def test_without_decisions_the_page_says_what_holds(application: Application) -> None:
    user = await application.open("viewer", "/en/bad-hersfeld/waivers", "en")
    await sees(user, EN["no_waivers"])


def fill(user: User, review: str) -> None:
    element(user, "waiver-kind").value = "lamp"
    element(user, "waiver-lamps").value = "L-0001, 704"
    element(user, "waiver-floor").value = 15
    element(user, "waiver-decision").value = "StVV 2026/114"
    element(user, "waiver-decided").value = "2026-10-01"
    element(user, "waiver-review").value = review
    element(user, "waiver-reason").value = "Sternennacht"


async def test_a_decision_is_entered_with_its_warnings_and_released(application: Application, town: Town) -> None:
    user = await application.open("admin", "/de/bad-hersfeld/waivers")
    await eventually(lambda: visible(user, "waiver-form"))
    fill(user, (town.clock.now() + timedelta(days=300)).date().isoformat())
    user.find(marker="waiver-fields").trigger("submit.prevent")
    await sees(user, "carry a sign at the pole")
    [waiver] = town.waivers.values()
    assert list(waiver.targets) == [name("luminaires", "L-0001"), name("luminaires", "L-0005")]
    assert (waiver.floor_permille, waiver.decided_on.day, waiver.sign_at_pole) == (150, 1, False)
    assert waiver.review_time.ToDatetime().hour in (22, 23)  # midnight on the town's clocks
    await eventually(lambda: visible(user, "release-waiver"))  # the list comes after the answer
    user.find(marker="release-waiver").click()
    await sees(user, DE["waiver_release_title"])
    user.find(marker="release-reason").type("anders beschlossen")
    user.find(marker="release-waiver-now").click()
    await shows(user, "aufgehoben")
    assert town.calls == [f"CreateWaiver {ADMIN}", f"ReleaseWaiver {ADMIN}"]


async def test_what_the_server_refuses_stands_at_its_field(application: Application, town: Town) -> None:
    user = await application.open("admin", "/de/bad-hersfeld/waivers")
    await eventually(lambda: visible(user, "waiver-form"))
    fill(user, "2026-01-01")
    user.find(marker="waiver-fields").trigger("submit.prevent")
    await eventually(lambda: "is over already" in (element(user, "waiver-review").error or ""))
    assert town.waivers == {}


async def test_an_incomplete_decision_is_told_at_its_fields_and_not_sent(application: Application, town: Town) -> None:
    user = await application.open("admin", "/de/bad-hersfeld/waivers")
    await eventually(lambda: visible(user, "waiver-form"))
    element(user, "waiver-floor").value = 100
    user.find(marker="waiver-fields").trigger("submit.prevent")
    await eventually(lambda: element(user, "waiver-reason").error == DE["error_required"])
    assert element(user, "waiver-floor").error == DE["error_level"]
    assert element(user, "waiver-which").error == DE["error_required"]
    assert element(user, "waiver-review").error.startswith("Ein Datum")
    assert town.calls == []


# --- sensors ---------------------------------------------------------------------------------------------------------


async def test_sensors_say_what_they_measured_when_and_who_listens(application: Application, town: Town) -> None:
    plan(town)
    user = await application.open("viewer", "/de/bad-hersfeld/sensors")
    await sees(user, "1 ohne frischen Wert")
    await shows(
        user, "72 je Stunde", "18,5 lx", "frisch", "veraltet", "Wohngebiete nachts (Regel 1)", "keine Regel hört"
    )
    # It is offered until somebody has said that this person may not: another call, which may end later.
    await eventually(lambda: not visible(user, "sensor-report"))
    assert not visible(user, "sensor-form")


async def test_an_operator_enters_a_value_and_changes_no_sensor(application: Application, town: Town) -> None:
    plan(town)
    user = await application.open("operator", "/de/bad-hersfeld/sensors")
    await eventually(lambda: visible(user, "sensor-report") and not visible(user, "sensor-edit"))
    user.find(marker="sensor-report").click()
    await sees(user, DE["sensor_report_title"])
    element(user, "sensor-value").value = 2e6
    user.find(marker="sensor-report-now").click()
    await eventually(lambda: "liegt nicht zwischen" in (element(user, "sensor-value").error or ""))
    element(user, "sensor-value").value = 4
    user.find(marker="sensor-report-now").click()
    await shows(user, "4 je Stunde")


async def test_a_sensor_is_made_changed_and_refused_at_its_field(application: Application, town: Town) -> None:
    user = await application.open("admin", "/de/bad-hersfeld/sensors")
    await sees(user, DE["no_sensors"])
    await eventually(lambda: visible(user, "sensor-form"))
    element(user, "sensor-id").value = "regen"
    element(user, "sensor-kind").value = 3
    element(user, "sensor-endpoint").value = "wetter"
    user.find(marker="sensor-fields").trigger("submit.prevent")
    await eventually(lambda: "is not an endpoint" in (element(user, "sensor-endpoint").error or ""))
    element(user, "sensor-endpoint").value = ""
    user.find(marker="sensor-fields").trigger("submit.prevent")
    await shows(user, DE["sensor_never"])
    user.find(marker="sensor-edit").click()
    await eventually(lambda: visible(user, "sensor-anew"))
    element(user, "sensor-name").value = "Regen am Bauhof"
    user.find(marker="sensor-fields").trigger("submit.prevent")
    await shows(user, "Regen am Bauhof")
    element(user, "sensor-id").value = "regen"
    user.find(marker="sensor-fields").trigger("submit.prevent")
    await eventually(lambda: element(user, "sensor-id").error == DE["error_taken"])
    assert [sensor.kind for sensor in town.sensors.values()] == [3]
    assert town.calls == [f"PutSensor {ADMIN}"] * 2


async def test_while_the_scheduler_is_away_sensors_are_shown_all_the_same(
    application: Application, town: Town, services: TownServices
) -> None:
    plan(town)
    await services.stop("scheduler")
    user = await application.open("viewer", "/de/bad-hersfeld/sensors")
    await shows(user, "72 je Stunde")
    await sees(user, DE["problem_away"].format(service=DE["scheduler"]))
    await services.start("scheduler")


# --- failure behaviour, identify -------------------------------------------------------------------------------------


async def test_the_town_page_says_how_many_lamps_nobody_protected_and_leads_there(
    application: Application, town: Town
) -> None:
    plan(town)
    user = await application.open("viewer", "/de/bad-hersfeld")
    await sees(user, "4 Leuchten ohne gesichertes Ausfallverhalten")
    assert element(user, "unprotected").props["href"] == "/de/bad-hersfeld/protection"
    await user.open("/de/bad-hersfeld/protection")
    await shows(user, DE["protection_2"], "100 %, gelesen wie zuvor", "Mondgasse")


async def test_where_all_is_protected_the_page_says_so(application: Application) -> None:
    user = await application.open("viewer", "/en/bad-hersfeld/protection", "en")
    await sees(user, EN["all_protected"])


# --- previews --------------------------------------------------------------------------------------------------------


async def opened(application: Application, username: str, path: str = "/de/bad-hersfeld/preview") -> User:
    user = await application.open(username, path)
    await eventually(lambda: "22:30" in (element(user, "preview-text").value or ""))
    await eventually(lambda: element(user, "preview-groups").value == [name("groups", "residential")])
    return user


async def test_a_profile_is_previewed_beside_now_and_full_light(application: Application, town: Town) -> None:
    plan(town)
    user = await opened(application, "viewer", "/de/bad-hersfeld/preview?profile=residential")
    element(user, "preview-nights").value = 3
    element(user, "preview-first").value = "2026-11-22"
    user.find(marker="preview-fields").trigger("submit.prevent")
    await sees(user, "3 Nächte ab 22.11.2026")
    await shows(user, "Hinweise, bevor es gilt (1)", "school holidays", "Vorschau gegen heute", "2026-11-22 21:30:00")
    await shows(user, "So 22.11.2026, 22:30 MEZ", "600 s")
    assert not visible(user, "profile-save")
    assert town.calls == []


async def test_a_changed_text_is_saved_only_after_it_was_previewed(application: Application, town: Town) -> None:
    plan(town)
    user = await opened(application, "admin")
    element(user, "preview-nights").value = 2
    await eventually(lambda: visible(user, "profile-save"))
    assert not element(user, "profile-save-now").enabled
    element(user, "preview-text").value = RESIDENTIAL.replace("level = 50", "level = 30")
    user.find(marker="preview-fields").trigger("submit.prevent")
    await eventually(lambda: element(user, "profile-save-now").enabled)
    element(user, "preview-text").value += "# noch einmal bedacht"
    await eventually(lambda: not element(user, "profile-save-now").enabled)
    user.find(marker="preview-fields").trigger("submit.prevent")
    await eventually(lambda: element(user, "profile-save-now").enabled)
    user.find(marker="profile-save-now").click()
    await eventually(lambda: town.calls == [f"PutProfile {ADMIN}"])
    [profile] = town.profiles.values()
    assert (profile.points[1].level_permille, profile.revision) == (300, 4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[points]]\nlevel = 50", "points[0].anchor: None is none of"),
        (RESIDENTIAL.replace('anchor = "sunrise"\nlevel = 0', 'anchor = "sunrise"\nlevel = 5'), "has level 0"),
    ],
)
async def test_what_is_wrong_in_a_text_stands_at_it(application: Application, town: Town, text: str, said: str) -> None:
    plan(town)
    user = await opened(application, "viewer")
    element(user, "preview-text").value = text
    user.find(marker="preview-fields").trigger("submit.prevent")
    await eventually(lambda: said in (element(user, "preview-text").error or ""))
    await sees(user, DE["outlook_none"])


async def test_a_file_is_taken_as_the_text_of_a_new_profile(application: Application, town: Town) -> None:
    plan(town)
    user = await opened(application, "admin")
    chosen = element(user, "preview-file")

    def take(**file: Any) -> None:
        for listener in chosen._event_listeners.values():
            arguments = events.GenericEventArguments(sender=chosen, client=chosen.client, args=file)
            events.handle_event(listener.handler, arguments)

    take(name="parkweg.toml", text=None)
    assert element(user, "preview-text").error.startswith("Eine Textdatei")
    take(name="parkweg.toml", text=RESIDENTIAL)
    assert element(user, "preview-text").error is None
    element(user, "preview-nights").value = 1
    user.find(marker="preview-fields").trigger("submit.prevent")
    await eventually(lambda: element(user, "profile-save-now").enabled)
    user.find(marker="profile-save-now").click()
    await eventually(lambda: name("profiles", "parkweg") in town.profiles)


async def test_while_the_scheduler_is_away_the_page_says_so(
    application: Application, town: Town, services: TownServices
) -> None:
    plan(town)
    user = await opened(application, "viewer")
    await services.stop("scheduler")
    user.find(marker="preview-fields").trigger("submit.prevent")
    await sees(user, DE["error_away"].format(service=DE["scheduler"]))
    assert not visible(user, "outlook-busy")
    await services.start("scheduler")


async def test_without_profiles_a_text_of_ones_own_can_be_previewed(application: Application, town: Town) -> None:
    user = await application.open("viewer", "/en/bad-hersfeld/preview", "en")
    await sees(user, EN["no_profiles"])
    element(user, "preview-text").value = RESIDENTIAL
    element(user, "preview-groups").value = []
    element(user, "preview-nights").value = 1
    user.find(marker="preview-fields").trigger("submit.prevent")
    await shows(user, "nobody knows their lamps", "50 %")
    assert not visible(user, "outlook-group")


# --- what is only told to who may ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["waivers", "preview"])
async def test_who_may_not_see_it_is_told_so(application: Application, town: Town, path: str) -> None:
    plan(town)
    user = await application.open("contractor", f"/de/bad-hersfeld/{path}")
    await sees(user, DE["problem_denied"])


async def test_the_list_of_work_is_handed_out_as_filtered(application: Application, town: Town) -> None:
    town.faults.update((fault.name, fault) for fault in three())
    user = await application.open("operator", "/de/bad-hersfeld/faults")
    await sees(user, "3 stehen an")
    user.find(marker="fault-filter").type("stern")
    await sees(user, "1 von 3 passen.")
    user.find(marker="fault-csv").click()
    response = await user.download.next()
    lines = response.content.decode("utf-8-sig").splitlines()
    assert [line.split(",")[1] for line in lines] == ["street", "Sternweg"]
    assert town.calls == []


@pytest.mark.parametrize(
    ("username", "may"),
    [
        ("viewer", {"may_identify": False, "may_report": False, "may_plan": False}),
        ("operator", {"may_identify": True, "may_report": True, "may_waive": False, "may_edit_sensors": False}),
        ("admin", {"may_waive": True, "may_edit_sensors": True, "may_plan": True}),
    ],
)
async def test_what_a_person_may_is_asked_without_changing_anything(
    application: Application, town: Town, username: str, may: dict[str, bool]
) -> None:
    plan(town)
    await application.open(username, "/de/bad-hersfeld/faults")
    [session] = application.admin.sessions._sessions.values()
    seen = session.town("municipalities/bad-hersfeld")
    await eventually(lambda: seen.is_watched)
    seen.want(*(getattr(seen, key) for key in may))
    await eventually(lambda: {key: getattr(seen, key).value for key in may} == may)
    assert town.calls == []
    assert town.profiles[name("profiles", "residential")].revision == 3
