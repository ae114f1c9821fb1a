"""The page of findings as simulated people see it, over real gRPC."""

from tests.services.admin.application import Application
from tests.services.admin.meter_pages import DE, EN, FINDINGS, eventually, newest, press, sees, shows
from tests.services.admin.test_planning_pages import element, html, visible
from tests.services.admin.town_buildings import metered
from tests.services.admin.town_services import OPERATOR, Town


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
