"""The page of faults as simulated people see it, against a small town's services over real gRPC."""

from typing import Any

import pytest
from nicegui import ElementFilter
from nicegui.testing import User

from lichtbuch.lighting.v1 import faults_pb2
from services.admin.faults import fault_from_proto, work_of
from services.admin.texts import words
from tests.services.admin.application import Application
from tests.services.admin.town_services import Town, fault_on, name
from tests.support.waiting import eventually

PATH = "/de/bad-hersfeld/faults"
PATIENCE = 300


async def sees(user: User, *texts: str) -> None:
    for text in texts:
        await user.should_see(text, retries=PATIENCE)


def stands(town: Town, *faults: faults_pb2.Fault) -> None:
    town.faults.update((fault.name, fault) for fault in faults)


def streets(user: User) -> list[str]:
    with user:
        return [str(section.props["aria-label"]) for section in ElementFilter(marker="street")]


def count(user: User, marker: str) -> int:
    with user:
        return len(list(ElementFilter(marker=marker)))


def three() -> list[faults_pb2.Fault]:
    lamp: dict[str, Any] = {"street": "Mondgasse"}
    return [
        fault_on("luminaires/L-0001", faults_pb2.FAULT_KIND_LAMP_FAILURE, pole="700", **lamp),
        fault_on(
            "luminaires/L-0003", faults_pb2.FAULT_KIND_POWER_TOO_HIGH, pole="702", measured_value=41.25,
            expected_value=22.8, **lamp,
        ),
        fault_on("gateways/G-002", faults_pb2.FAULT_KIND_COMMUNICATION_LOSS, street="Sternweg"),
    ]  # fmt: skip


async def test_the_work_stands_street_by_street_with_what_was_measured(application: Application, town: Town) -> None:
    stands(town, *three())
    user = await application.open("operator", PATH)
    await sees(user, "3 stehen an, 3 davon sind noch nicht quittiert.", "Lampe defekt", "Leuchte L-0001, Mast 700")
    await sees(user, "41,3 W statt 22,8 W", "Keine Verbindung", "Gateway G-002", "seit So 22.11. 07:30")
    assert streets(user) == ["Mondgasse", "Sternweg"]


async def test_the_town_page_leads_to_the_faults_and_says_how_many(application: Application, town: Town) -> None:
    stands(town, *three())
    user = await application.open("operator", "/de/bad-hersfeld")
    await sees(user, "Störungen (3)")
    with user:
        link = next(iter(ElementFilter(marker="fault_page")))
    assert link.props["href"] == PATH


async def test_an_operator_acknowledges_with_a_note_and_sees_it(application: Application, town: Town) -> None:
    stands(town, *three())
    user = await application.open("operator", PATH)
    await sees(user, "Quittieren")
    buttons = user.find(marker="acknowledge")
    with user:
        buttons.elements.intersection_update([next(iter(ElementFilter(marker="acknowledge")))])
    buttons.click()
    await sees(user, "Diese Störung quittieren?")
    user.find(marker="fault-note").type("Ersatzteil bestellt")
    user.find(marker="acknowledge-now").click()
    await sees(user, "Ersatzteil bestellt", "2 davon sind noch nicht quittiert")
    assert next(iter(town.faults.values())).acknowledgement_note == "Ersatzteil bestellt"


async def test_a_report_by_hand_is_made_listed_and_done(application: Application, town: Town) -> None:
    user = await application.open("operator", PATH)
    await sees(user, "Keine Störung steht an.", "Störung melden")
    user.find(marker="report-lamp").type("L-0004")
    user.find(marker="report-text").type("flackert seit gestern")
    user.find(marker="report-fields").trigger("submit.prevent")
    await sees(user, "1 stehen an", "flackert seit gestern")
    [fault] = town.faults.values()
    assert (fault.subject, fault.text) == (name("luminaires", "L-0004"), "flackert seit gestern")
    await user.should_see(marker="fault_clear", retries=PATIENCE)
    user.find(marker="fault_clear").click()
    await sees(user, "Ist diese gemeldete Störung behoben?")
    user.find(marker="fault_clear-now").click()
    await sees(user, "Keine Störung steht an.")
    assert [call.split()[0] for call in town.calls] == ["ReportFault", "ClearFault"]


async def test_an_incomplete_report_is_told_at_its_fields_and_not_sent(application: Application, town: Town) -> None:
    user = await application.open("operator", PATH)
    await sees(user, "Störung melden")
    user.find(marker="report-lamp").type("no such lamp")
    user.find(marker="report-fields").trigger("submit.prevent")
    await sees(user, words("de")["error_lamp"], words("de")["error_required"])
    assert town.calls == []


async def test_filters_narrow_the_list(application: Application, town: Town) -> None:
    stands(town, *three())
    user = await application.open("operator", PATH)
    await sees(user, "3 stehen an")
    user.find(marker="fault-filter").type("stern")
    await sees(user, "1 von 3 passen.")
    assert streets(user) == ["Sternweg"]


async def test_a_viewer_sees_the_list_and_no_buttons(application: Application, town: Town) -> None:
    stands(town, *three())
    user = await application.open("viewer", "/en/bad-hersfeld/faults", "en")
    await sees(user, "3 stand, 3 of them nobody knows of yet.", "41.3 W instead of 22.8 W")
    await eventually(lambda: count(user, "acknowledge") == 0)
    with user:
        forms = list(ElementFilter(marker="report-form"))
    assert not any(form.visible for form in forms)


async def test_what_people_wrote_is_shown_as_text(application: Application, town: Town) -> None:
    evil = '<img src=x onerror="alert(1)">'
    stands(
        town,
        fault_on("luminaires/L-0001", faults_pb2.FAULT_KIND_REPORTED, by_hand=True, text=evil, street=evil, pole=evil),
    )
    user = await application.open("operator", PATH)
    await sees(user, "1 stehen an")
    with user:
        html = " ".join(str(e.props.get("innerHTML", "")) for e in ElementFilter() if "innerHTML" in e.props)
    assert "<img" not in html
    assert "&lt;img" in html


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["L-0001", "L-0003", "G-002"]),
        ({"text": "702"}, ["L-0003"]),
        ({"text": "mond"}, ["L-0001", "L-0003"]),
        ({"kind": faults_pb2.FAULT_KIND_COMMUNICATION_LOSS}, ["G-002"]),
        ({"new_only": True, "text": "c-001"}, ["L-0001", "L-0003", "G-002"]),
        ({"text": "nothing like it"}, []),
    ],
)
def test_a_list_of_work_keeps_the_order_that_the_server_gave(filters: dict[str, Any], expected: list[str]) -> None:
    work = work_of(map(fault_from_proto, three()), **filters)
    assert [fault.subject.rsplit("/", 1)[-1] for street in work for fault in street.faults] == expected
