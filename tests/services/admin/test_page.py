"""The page as simulated people see it, against a small town's services over real gRPC."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from nicegui import ElementFilter, ui
from nicegui.testing import User

from domain.timelapse import TimeLapse
from lichtbuch.lighting.v1 import control_pb2
from servicekit.clock import TimeLapseClock
from servicekit.convert import timestamp_to_proto
from services.admin.pages import town_page
from services.admin.pages.lamp_map import LampMap
from services.admin.texts import words
from tests.services.admin import town_services
from tests.services.admin.application import BASE, Application, running_application
from tests.services.admin.town_services import BINDINGS, Town, TownServices, name
from tests.support.waiting import eventually

PATIENCE = 300
"""Looks of a tenth of a second each."""


async def sees(user: User, *texts: str) -> None:
    for text in texts:
        await user.should_see(text, retries=PATIENCE)


def shown(user: User, marker: str) -> bool:
    """Whether an element of that marker is there and visible, with everything around it."""
    with user:
        found = list(ElementFilter(marker=marker))
    return any(all(element.visible for element in one.ancestors(include_self=True)) for one in found)


def value_of(user: User, marker: str) -> Any:
    with user:
        return next(iter(ElementFilter(marker=marker)))


def sent_to_map(user: User) -> list[tuple[str, Any]]:
    """Calls of the map's methods in the browser, in order."""
    assert user.client is not None
    map_id = next(iter(user.find(LampMap).elements)).id
    calls = []
    for _, _, (_, kind, data) in user.client.outbox.message_history:
        if kind == "run_javascript":
            found = re.fullmatch(rf'return runMethod\({map_id}, "(\w+)", (.*)\)', data["code"], re.DOTALL)
            if found:
                calls.append((found[1], json.loads(found[2])))
    return calls


def last_update(user: User) -> dict[str, list[int]]:
    """The columns that the map got last."""
    calls = [arguments[0] for call, arguments in sent_to_map(user) if call == "change"]
    return calls[-1] if calls else {}


async def submit(user: User) -> None:
    user.find(marker="level-fields").trigger("submit.prevent")


async def test_a_facility_manager_sees_the_town_at_a_glance(application: Application, town: Town) -> None:
    town.states["L-0002"].update(actual=350, due=350)
    town.states["L-0003"].update(faults=4)
    town.gaps["M-002"] = 8
    user = await application.open("viewer")
    await sees(user, "Bad Hersfeld", "Vera Ansicht", "Vorführstadt", "6 Leuchten · live")
    await sees(user, words("de")["no_overrides"], "Alle auf Automatik, Türen zu.")
    await sees(user, "1.234,5 kWh", "Rathaus", "1 in 24 h zu weniger als 95 % abgedeckt", "91,6 %")
    await sees(user, "LED und Dimmen", "700 kWh", "201,25 €", "± 35,0 kWh", "3 Einträge, Wurzel 0123456789abcdef…")
    with user.scope(marker="lamps"):
        await sees(user, "folgen nicht")
    assert not shown(user, "away")


async def test_the_same_in_english(application: Application) -> None:
    user = await application.open("viewer", "/en/bad-hersfeld", "en")
    await sees(user, "6 lamps · live", "1,234.5 kWh", "€201.25", words("en")["no_overrides"])


async def test_the_map_gets_all_lamps_once_and_then_only_what_changed(
    application: Application, services: TownServices
) -> None:
    user = await application.open("viewer")
    await eventually(lambda: last_update(user).get("actual") == [1000] * 6)
    kind, (load,) = sent_to_map(user)[0]
    assert kind == "load"
    assert load["ids"] == [f"L-{number:04}" for number in range(1, 7)]
    assert len(load["lat"]) == len(load["lon"]) == len(load["street"]) == 6
    assert [cabinet[0] for cabinet in load["cabinets"]] == ["C-001", "C-002"]
    assert last_update(user)["rows"] == [0, 1, 2, 3, 4, 5]
    before = len(sent_to_map(user))
    for level in (100, 200, 300):
        await services.town.show(["L-0004"], actual=level)
    await eventually(lambda: last_update(user).get("actual") == [300])
    updates = [arguments[0] for _, arguments in sent_to_map(user)[before:]]
    assert all(update["rows"] == [3] for update in updates)


async def test_a_lamp_is_found_by_its_number_and_shown_in_detail(
    application: Application, services: TownServices
) -> None:
    user = await application.open("viewer")
    await sees(user, "6 Leuchten")
    user.find(marker="find-lamp").type("l-0003").trigger("keydown.enter")
    await sees(user, "Leuchte L-0003", "Mondgasse", "Wohngebiete", "100 % (voll an)")
    await services.town.show(["L-0003"], actual=0, faults=1)
    await sees(user, "0 % (gestört)", "Lampe defekt")
    user.find(marker="find-lamp").clear().type("sternweg").trigger("keydown.enter")
    await sees(user, "3 Leuchten passen; gezeigt wird die erste.", "Leuchte L-0002")
    user.find(marker="find-lamp").clear().type("L-9999").trigger("keydown.enter")
    await sees(user, "Keine Leuchte passt zu „L-9999“.")


async def test_a_lamp_that_is_chosen_on_the_map_is_shown_unless_it_is_of_another_inventory(
    application: Application,
) -> None:
    user = await application.open("viewer")
    await eventually(lambda: bool(sent_to_map(user)))
    user.find(LampMap).trigger("choose", {"row": 1, "load": 1})
    await sees(user, "Leuchte L-0002")
    for wrong in ({"row": 2, "load": 9}, {"row": 99, "load": 1}, {"row": -1, "load": 1}, {"row": "2", "load": 1}):
        user.find(LampMap).trigger("choose", wrong)
    await user.should_not_see("Leuchte L-0003")


async def test_an_operator_sets_the_light_sees_it_and_releases_it(
    application: Application, services: TownServices
) -> None:
    user = await application.open("operator")
    await eventually(lambda: shown(user, "level-form"))
    user.find(marker="level").clear().type("30")
    user.find(marker="reason").type("Straßenfest")
    await submit(user)
    await sees(user, "Gruppe Wohngebiete auf 30 % gestellt")
    await eventually(lambda: shown(user, "override"))
    with user.scope(marker="overrides"):
        await sees(user, "Straßenfest", "30 %")
    assert services.town.calls == [f"CreateOverride {town_services.OPERATOR}"]
    user.find(marker="release").click()
    await eventually(lambda: shown(user, "release-now"))
    user.find(marker="release-now").click()
    await sees(user, "Aufgehoben.", words("de")["no_overrides"])
    assert services.town.calls[-1] == f"ReleaseOverride {town_services.OPERATOR}"


async def test_a_single_lamp_can_be_set_from_its_details(application: Application, services: TownServices) -> None:
    user = await application.open("operator")
    await eventually(lambda: shown(user, "level-form") and bool(sent_to_map(user)))
    user.find(LampMap).trigger("choose", {"row": 4, "load": 1})
    await eventually(lambda: shown(user, "override-this"))
    user.find(marker="override-this").click()
    assert value_of(user, "which-lamp").value == "L-0005"
    user.find(marker="reason").type("Baustelle")
    await submit(user)
    await eventually(lambda: len(services.town.overrides) == 1)
    assert next(iter(services.town.overrides.values())).targets == [name("luminaires", "L-0005")]


async def test_a_lamp_is_let_blink_from_its_details_or_it_is_said_why_not(
    application: Application, services: TownServices
) -> None:
    user = await application.open("operator")
    await eventually(lambda: bool(sent_to_map(user)))
    user.find(LampMap).trigger("choose", {"row": 4, "load": 1})
    await eventually(lambda: shown(user, "identify"))
    user.find(marker="identify").click()
    await sees(user, "Leuchte L-0005 blinkt bis")
    assert services.town.calls == ["IdentifyLuminaire L-0005"]
    user.find(LampMap).trigger("choose", {"row": 1, "load": 1})
    await eventually(lambda: not value_of(user, "identify-answer").text)
    user.find(marker="identify").click()
    await sees(user, "it has no gateway")


async def test_what_is_missing_is_said_at_its_field_and_not_sent(
    application: Application, services: TownServices
) -> None:
    user = await application.open("operator")
    await eventually(lambda: shown(user, "level-form"))
    value_of(user, "kind").value = "lamp"
    value_of(user, "level").value = 130
    value_of(user, "until").value = "tomorrow"
    await submit(user)
    await eventually(lambda: value_of(user, "reason").error == "Bitte ausfüllen.")
    assert value_of(user, "which-lamp").error == "Bitte ausfüllen."
    assert value_of(user, "level").error == "Eine Zahl von 0 bis 100."
    assert value_of(user, "until").error.startswith("Datum und Uhrzeit")
    value_of(user, "which-lamp").value = "L-0"  # six lamps could be meant
    await submit(user)
    await eventually(lambda: value_of(user, "which-lamp").error == "Diese Leuchte gibt es nicht.")
    assert services.town.calls == []


async def test_what_the_server_refuses_stands_at_the_field_that_it_blames(
    application: Application, services: TownServices
) -> None:
    user = await application.open("operator")
    await eventually(lambda: shown(user, "level-form"))
    value_of(user, "until").value = f"{datetime.now(UTC) + timedelta(days=90):%Y-%m-%dT%H:%M}"
    user.find(marker="reason").type("Straßenfest")
    await submit(user)
    await eventually(lambda: value_of(user, "until").error == "it does not lie within the next 31 days")
    assert services.town.overrides == {}


async def test_a_viewer_is_offered_no_change(application: Application, services: TownServices) -> None:
    services.town.overrides[name("overrides", "o-1")] = control_pb2.Override(
        name=name("overrides", "o-1"),
        targets=[town_services.PARENT],
        level_permille=500,
        expire_time=timestamp_to_proto(datetime.now(UTC) + timedelta(hours=4)),
        reason="Fest",
    )
    user = await application.open("viewer")
    await sees(user, "Ganze Stadt", "Fest")
    await eventually(lambda: not shown(user, "release"))
    assert not shown(user, "level-form")


async def test_who_lost_the_role_meanwhile_is_refused_in_words(
    application: Application, services: TownServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = await application.open("operator")
    await eventually(lambda: shown(user, "level-form"))
    monkeypatch.setitem(BINDINGS, town_services.OPERATOR, BINDINGS[town_services.VIEWER])
    user.find(marker="reason").type("trotzdem")
    await submit(user)
    await sees(user, "Das darf Ihre Rolle nicht.")
    assert services.town.calls == []


async def test_who_lost_the_role_for_the_lamps_sees_them_no_longer(
    application: Application, services: TownServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = await application.open("viewer")
    await sees(user, "6 Leuchten")
    monkeypatch.setitem(BINDINGS, town_services.VIEWER, BINDINGS[town_services.CONTRACTOR])
    await services.stop("lighting")
    await services.start("lighting")
    await eventually(lambda: sent_to_map(user)[-1][1][0]["ids"] == [] if sent_to_map(user)[-1][0] == "load" else False)
    await sees(user, "Ihre Rolle sieht das nicht.")
    await user.should_not_see("6 Leuchten", retries=PATIENCE)


async def test_a_service_that_is_away_is_named_and_its_last_picture_stays(
    application: Application, services: TownServices
) -> None:
    user = await application.open("operator")
    await sees(user, "6 Leuchten · live", "700 kWh")
    await eventually(lambda: shown(user, "level-form"))
    await services.stop("lighting")
    await eventually(lambda: shown(user, "away"))
    await sees(user, "Es antwortet gerade nicht: Beleuchtung. Was Sie sehen, ist der letzte bekannte Stand.")
    await sees(user, "6 Leuchten · Stand", "700 kWh")
    await eventually(lambda: ("stale", [True]) in sent_to_map(user))
    await services.start("lighting")
    await eventually(lambda: not shown(user, "away"))
    await sees(user, "6 Leuchten · live")
    await eventually(lambda: ("stale", [False]) in sent_to_map(user))


async def test_a_town_whose_services_are_all_away_says_so_without_a_stack_trace(
    application: Application, services: TownServices
) -> None:
    browser = await application.log_in("viewer")
    for service in ("registry", "lighting", "metering", "ledger"):
        await services.stop(service)
    user = User(browser)
    await user.open("/de/bad-hersfeld")
    await sees(user, "Der Dienst „Beleuchtung“ antwortet nicht.", "Der Dienst „Einsparbuch“ antwortet nicht.")
    await sees(user, "bad-hersfeld")
    await user.should_not_see("Traceback")


async def test_a_contractor_sees_savings_and_no_lamps(application: Application) -> None:
    user = await application.open("contractor")
    await sees(user, "Ihre Rolle sieht das nicht.")
    assert not shown(user, "level-form")


async def test_an_auditor_sees_the_proof_and_a_broken_one_in_red(application: Application, town: Town) -> None:
    user = await application.open("auditor")
    await sees(user, "Vom Dienst selbst geprüft: 3 Einträge, alle unverändert", "lichtbuch ledger verify")
    town.log_is_valid = False
    user.find(marker="check-log").click()
    await sees(user, "Prüfung fehlgeschlagen: leaf 1: the hash is another one")
    assert "bad" in value_of(user, "verdict").classes


async def test_a_viewer_is_told_who_may_verify(application: Application) -> None:
    user = await application.open("viewer")
    await sees(user, "Prüfen darf die Prüferin oder der Prüfer.")
    await eventually(lambda: not shown(user, "check-log"))


async def test_who_may_see_several_towns_can_go_to_another(application: Application) -> None:
    user = await application.open("auditor")
    await eventually(lambda: shown(user, "choose-town"))
    assert value_of(user, "choose-town").options == {
        "bad-hersfeld": "Bad Hersfeld",
        "schwalmstadt": "Schwalmstadt",
    }


async def test_cabinets_that_stand_out_come_first(application: Application, town: Town) -> None:
    town.cabinet_states[1].switch_position = control_pb2.SWITCH_POSITION_HAND
    town.cabinet_states[1].door_open = True
    user = await application.open("viewer")
    await sees(user, "1 mit Auffälligkeit", "Hand", "C-001 Schaltstelle")  # names come after states
    table = next(element.content for element in user.find(kind=ui.html, content="C-001 Schaltstelle").elements)
    assert table.index("C-002") < table.index("C-001")


async def test_words_from_outside_are_shown_not_run(application: Application, town: Town) -> None:
    town.cabinets[0].display_name = "<img src=x onerror=alert(1)>"
    town.entries[0].display_name = "</script><script>alert(1)</script>"
    user = await application.open("viewer")
    await sees(user, "&lt;img src=x onerror=alert(1)&gt;", "&lt;/script&gt;&lt;script&gt;alert(1)")


async def test_a_page_whose_login_has_ended_goes_to_log_in_again(application: Application) -> None:
    user = await application.open("viewer")
    await sees(user, "6 Leuchten")
    session = next(iter(application.admin.sessions._sessions.values()))
    gone: list[str] = []
    user.navigate.to = lambda target, new_tab=False: gone.append(str(target))  # type: ignore[method-assign]
    session.token.refused("")
    await eventually(lambda: bool(gone))
    assert gone[0] == "/login?to=/de/bad-hersfeld"


async def test_a_page_whose_login_has_ended_comes_back_to_what_was_chosen_on_it(application: Application) -> None:
    user = await application.open("operator", "/de/bad-hersfeld/readings/new?meter=R-1")
    session = next(iter(application.admin.sessions._sessions.values()))
    gone: list[str] = []
    user.navigate.to = lambda target, new_tab=False: gone.append(str(target))  # type: ignore[method-assign]
    session.token.refused("")
    await eventually(lambda: bool(gone))
    assert gone[0] == "/login?to=/de/bad-hersfeld/readings/new%3Fmeter%3DR-1"


async def test_the_page_of_a_logout_is_not_called_back_on_its_way_to_the_issuer_and_others_go_to_the_login(
    application: Application,
) -> None:
    left = await application.open("viewer")
    other = User(left.http_client)
    await other.open("/de/bad-hersfeld/faults")
    gone: list[str] = []

    def note(_target: object, new_tab: bool = False) -> None:
        gone.append(ui.context.client.id)

    left.navigate.to = note  # type: ignore[method-assign, assignment]
    other.navigate.to = note  # type: ignore[method-assign, assignment]
    assert left.client is not None
    assert other.client is not None
    left_id, other_id = left.client.id, other.client.id
    form = next(each for each in left.client.elements.values() if "/logout" in str(each.props.get("action", "")))
    answer = await left.http_client.post(form.props["action"], headers={"origin": BASE})
    assert answer.status_code == 303
    # Each page looks once a second: when the other has looked twice since, this one has looked too.
    await eventually(lambda: gone.count(other_id) >= 2)
    assert left_id not in gone


async def test_a_page_that_cannot_be_built_tells_nothing_of_its_inside(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object, **_more: object) -> None:
        raise ValueError("inner detail")

    browser = await application.log_in("viewer")
    monkeypatch.setattr(town_page, "TownPage", broken)
    answer = await browser.get("/de/bad-hersfeld")
    assert answer.status_code == 500
    assert "Da ist etwas schiefgegangen" in answer.text
    assert "inner detail" not in answer.text
    assert "Traceback" not in answer.text


async def test_a_time_lapse_is_called_one(services: TownServices, issuer_url: str) -> None:
    anchor = datetime.now(UTC)
    clock = TimeLapseClock(TimeLapse(datetime(2026, 6, 21, 10, tzinfo=UTC), anchor, 600.0))
    async with running_application(services, issuer_url, clock=clock, simulated=True) as application:
        user = await application.open("operator")
        await sees(user, "Zeitraffer: 600-mal so schnell", "Simulation: keine echten Geräte", "21.6.2026")
        await eventually(lambda: shown(user, "level-form"))
        ends = datetime.fromisoformat(value_of(user, "until").value)
        assert ends - datetime(2026, 6, 21, 12) >= timedelta(hours=20)


async def test_people_see_their_own_rights_side_by_side(application: Application) -> None:
    operator, viewer = await application.open("operator"), await application.open("viewer")
    is_offered: Callable[[User], bool] = lambda user: shown(user, "level-form")  # noqa: E731
    await eventually(lambda: is_offered(operator))
    assert not is_offered(viewer)
