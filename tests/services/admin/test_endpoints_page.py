"""The page of endpoints as simulated people see it, over real gRPC and by the registry's own rules."""

import pytest
from nicegui import ElementFilter
from nicegui.testing import User
from nicegui.testing.user_interaction import UserInteraction

from lichtbuch.lighting.v1 import faults_pb2
from lichtbuch.type.v1 import types_pb2
from services.admin.endpoints import shown_address
from services.admin.texts import words
from services.registry.endpoint import State
from tests.services.admin.application import Application
from tests.services.admin.test_planning_pages import element, html, sees, shows, visible
from tests.services.admin.town_endpoints import commission
from tests.services.admin.town_services import ADMIN, Town, TownServices, fault_on, name
from tests.support.waiting import eventually

DE, EN = words("de"), words("en")
PAGE = "/de/bad-hersfeld/endpoints"


def sections(user: User) -> list[str]:
    with user:
        return [str(section.props["aria-label"]) for section in ElementFilter(marker="endpoint-section")]


def labels(user: User, marker: str) -> list[str]:
    with user:
        return [str(button.props["aria-label"]) for button in ElementFilter(marker=marker)]


async def press(user: User, marker: str, label: str) -> None:
    """Presses the button of one endpoint."""
    await eventually(lambda: label in labels(user, marker))
    with user:
        [button] = [each for each in ElementFilter(marker=marker) if each.props["aria-label"] == label]
    UserInteraction(user, {button}, None).click()


async def test_endpoints_stand_by_state_with_what_hangs_on_them(application: Application, town: Town) -> None:
    commission(town)
    user = await application.open("viewer", PAGE)
    await sees(user, "5 von 5 Endpunkten.")
    await eventually(lambda: sections(user) == [DE[f"endpoint_state_{state}"] for state in (1, 2, 3, 4)])
    await shows(
        user,
        "Gateway G-1 (3 Leuchten)",
        "Steuerung der Schaltstelle C-001 Schaltstelle Mondgasse (3 Leuchten)",
        "Zähler M-001",
        "arlight-dali · modbus+tcp://10.1.2.4:1502?unit=7",
        "3 von 3 Leuchten antworten",
        "durch u-planner",
    )
    await sees(user, DE["endpoint_moves_denied"])
    assert not visible(user, "endpoint-on")
    assert not visible(user, "endpoint-back")
    assert "Schritt gw-1" not in html(user)
    assert element(user, "endpoint-shadow").props["href"] == "/de/bad-hersfeld"


async def test_who_reads_the_audit_trail_sees_who_moved_what_and_why(application: Application, town: Town) -> None:
    commission(town)
    user = await application.open("auditor", PAGE)
    await shows(user, "durch u-planner: Schritt gw-1 &lt;b&gt;observed&lt;/b&gt;", "Schritt cc-1")
    assert not visible(user, "endpoint-moves-denied")
    await eventually(lambda: not visible(user, "endpoint-on"))


async def test_the_list_is_filtered_by_state_and_text(application: Application, town: Town) -> None:
    commission(town)
    user = await application.open("viewer", "/en/bad-hersfeld/endpoints", "en")
    await sees(user, "5 of 5 endpoints.")
    element(user, "endpoint-state").value = 2
    await sees(user, "2 of 5 endpoints.")
    assert sections(user) == [EN["endpoint_state_2"]]
    element(user, "endpoint-filter").value = "eastron"
    await sees(user, "1 of 5 endpoints.")


async def test_a_gateway_is_released_with_a_reason_after_what_follows_was_said(
    application: Application, town: Town
) -> None:
    commission(town)
    user = await application.open("admin", PAGE)
    await press(user, "endpoint-on", "Weiter: in Betrieb: gw-2")
    await sees(user, "Von da an schreibt Lichtbuch auf diese 3 Leuchten. Die Freigabe trägt Ihren Namen.")
    user.find(marker="endpoint-move-now").click()
    await eventually(lambda: element(user, "endpoint-reason").error == DE["error_required"])
    assert town.calls == []
    user.find(marker="endpoint-reason").type("jeder Mast abgegangen")
    user.find(marker="endpoint-move-now").click()
    await shows(user, f"durch {ADMIN}: jeder Mast abgegangen")
    released = town.endpoints[name("endpoints", "gw-2")]
    assert (released.state, released.released_by) == (State.IN_CONTROL, ADMIN)
    await press(user, "endpoint-back", "Zurück: im Test: gw-2")
    await sees(user, "3 Leuchten folgen dann keinem Plan mehr.")
    assert town.calls == [f"TransitionEndpoint {ADMIN}"]


async def test_a_move_of_what_somebody_else_moved_meanwhile_is_not_made(application: Application, town: Town) -> None:
    commission(town)
    user = await application.open("admin", PAGE)
    await press(user, "endpoint-back", "Zurück: im Test: cc-1")
    await sees(user, "die Abgänge von 3 Leuchten")
    key = name("endpoints", "cc-1")
    town.endpoints[key] = town.endpoints[key].moved_to(
        State.OBSERVED, by="u-other", is_person=True, at=town.clock.now()
    )
    user.find(marker="endpoint-reason").type("zu spät")
    user.find(marker="endpoint-move-now").click()
    await sees(user, DE["endpoint_conflict"])
    assert (town.calls, town.endpoints[key].state) == ([], State.OBSERVED)
    await eventually(lambda: "Zurück: geplant: cc-1" in labels(user, "endpoint-back"))


async def test_a_move_that_nobody_answers_is_told_and_not_made(
    application: Application, town: Town, services: TownServices
) -> None:
    commission(town)
    user = await application.open("admin", PAGE)
    await press(user, "endpoint-on", "Weiter: beobachtet: gw-3")
    await sees(user, "Von da an verbindet sich Lichtbuch und liest; geschrieben wird nichts (dieses Gerät).")
    await services.stop("registry")
    user.find(marker="endpoint-reason").type("verdrahtet")
    user.find(marker="endpoint-move-now").click()
    await sees(user, DE["error_away"].format(service=DE["registry"]))
    assert town.calls == []


async def test_what_does_not_answer_says_since_when(application: Application, town: Town) -> None:
    commission(town)
    town.cabinet_states[0].quality = types_pb2.QUALITY_MISSING
    fault = fault_on("gateways/G-1", faults_pb2.FAULT_KIND_COMMUNICATION_LOSS)
    town.faults[fault.name] = fault
    user = await application.open("viewer", PAGE)
    await shows(user, "keine Verbindung seit So 22.11.2026, 07:30 MEZ", DE["no_answer"])


async def test_lamps_that_fall_silent_are_counted_without_a_new_list(
    application: Application, town: Town, services: TownServices
) -> None:
    commission(town)
    user = await application.open("viewer", PAGE)
    await shows(user, "3 von 3 Leuchten antworten")
    await town.show(["L-0001"], quality=types_pb2.QUALITY_MISSING)
    await town.show(["L-0003"], powered=0)
    await shows(user, "1 von 3 Leuchten antworten, 1 ohne Spannung")
    await services.stop("lighting")
    await sees(user, "Beleuchtung")
    assert len(sections(user)) == 4


async def test_a_town_without_endpoints_says_how_they_are_made(application: Application) -> None:
    user = await application.open("viewer", "/en/bad-hersfeld/endpoints", "en")
    await sees(user, EN["no_endpoints"])


async def test_without_a_role_that_sees_endpoints_the_page_says_so(application: Application, town: Town) -> None:
    commission(town)
    user = await application.open("contractor", PAGE)
    await sees(user, DE["problem_denied"])
    assert sections(user) == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("modbus+tcp://10.0.0.1:502?unit=1&base=100", "modbus+tcp://10.0.0.1:502?unit=1&base=100"),
        ("opc.tcp://ada:geheim@plc-1:4840/lights#x", "opc.tcp://plc-1:4840/lights"),
        ("modbus+tls://10.0.0.1?unit=1&password=geheim&token", "modbus+tls://10.0.0.1?unit=1&password=…&token=…"),
        ("modbus+tcp://[10.0.0.1", "…"),
    ],
)
def test_nothing_secret_of_an_address_is_shown(url: str, shown: str) -> None:
    assert shown_address(url) == shown
