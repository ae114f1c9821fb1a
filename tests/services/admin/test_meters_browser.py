"""The pages of meters in a real browser, wide and as a phone: looked at, a reading entered, a finding closed."""

from datetime import timedelta
from pathlib import Path

import pytest

from domain.night import local_date
from tests.services.admin.test_browser import PHONE, Admin, chromium, picture, saved, visit
from tests.services.admin.town_book import BERLIN
from tests.services.admin.town_buildings import metered, name
from tests.services.admin.town_services import Town, TownServices

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

__all__ = ["chromium"]


async def test_a_facility_manager_looks_at_meters_reads_one_by_hand_and_closes_a_finding(
    chromium: str, town: Town, services: TownServices, issuer_url: str, tmp_path: Path
) -> None:
    today = local_date(metered(town), BERLIN)
    async with Admin(services, issuer_url, tmp_path / "log") as admin, visit(chromium) as visitor:
        page, address = visitor.page, f"{admin.address}/de/bad-hersfeld"
        await page.goto(f"{address}/meters")
        await visitor.log_in("admin")
        await page.wait_for_url(f"{address}/meters")
        await page.get_by_text("11 von 11 Zählern.").wait_for()
        town_hall = page.get_by_role("region", name="Rathaus")
        await town_hall.get_by_text("Register von R-1").wait_for()
        await page.get_by_role("link", name="Auffälligkeiten (2)").wait_for()
        await picture(page, "meters")

        await town_hall.get_by_role("link", name="Strom Rathaus").click()
        await page.wait_for_url(f"{address}/meters/R-1")
        await page.goto(f"{address}/meters/R-1?span=month&day={(today - timedelta(days=2)).isoformat()}")
        await page.locator(".consumption-card .chart svg").wait_for()
        await page.locator(".meter-figures-card").get_by_text("Spitzenlast").wait_for()
        await page.locator(".losses-card").get_by_text("R-2 Küche").wait_for()
        await page.locator(".readings-card").get_by_role("button", name="ändern").first.wait_for()
        await picture(page, "meter")
        table = await saved(page, page.get_by_role("button", name="Tabelle als CSV"))
        assert table.startswith("start,end,amount_wh,estimated_wh,coverage_permille")

        await page.get_by_role("button", name="Ablesung 00:00 ändern").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_text("Der bisherige Wert bleibt").wait_for()
        await dialog.get_by_label("Neuer Wert").fill("1")
        await picture(page, "reading-edit")
        await dialog.get_by_role("button", name="Abbrechen").click()
        await dialog.wait_for(state="detached")
        await page.get_by_role("button", name="Lücken füllen").click()
        await dialog.get_by_label("Vom Tag").fill((today - timedelta(days=3)).isoformat())
        await dialog.get_by_role("button", name="Ansehen").click()
        await dialog.get_by_text("Werte würden ergänzt").wait_for()
        await picture(page, "estimate")
        await dialog.get_by_role("button", name="Abbrechen").click()

        await page.goto(f"{address}/meters/T-1?span=day")
        await page.locator(".sensor-values-card .chart svg").wait_for()
        await picture(page, "meter-sensor")
        await page.goto(f"{address}/meters/O-1")
        await page.get_by_text("LS 2026-118").wait_for()
        await page.locator(".consumption-card .chart svg").wait_for()
        await picture(page, "meter-stock")

        await page.set_viewport_size({"width": PHONE, "height": 800})
        await page.goto(f"{address}/readings/new")
        await page.get_by_role("button", name="Wasser Grundschule").wait_for()
        await picture(page, "reading-choice")
        await page.set_viewport_size({"width": PHONE, "height": 800})
        await page.get_by_label("Welcher Zähler").fill("8SEN")
        await page.get_by_role("button", name="Heizöl Bauhof").wait_for(state="detached")
        await page.get_by_role("button", name="Wasser Grundschule").click()
        await page.get_by_text("1.610,500 m³").wait_for()
        await page.get_by_label("Stand auf dem Zähler").fill("160,5")
        await page.get_by_text("Der Stand ist kleiner als beim letzten Mal.").wait_for()
        await picture(page, "reading-doubted")
        await page.set_viewport_size({"width": PHONE, "height": 800})
        await page.get_by_label("Stand auf dem Zähler").fill("1844,25")
        await page.get_by_text("Das passt.").wait_for()
        await picture(page, "reading")
        await page.set_viewport_size({"width": PHONE, "height": 800})
        await page.get_by_role("button", name="Speichern").dblclick()
        await page.get_by_text("Gespeichert: Wasser Grundschule: 1.844,250 m³").wait_for()
        held = town.book.readings[name("W-1")]
        assert len(held) == 4
        assert max(held.items())[1][-1].value == 1_844_250

        await page.set_viewport_size({"width": 1400, "height": 1000})
        await page.goto(f"{address}/findings")
        await page.get_by_text("2 stehen an, geschätzt 298,28 € zu viel.").wait_for()
        await picture(page, "findings")
        await page.get_by_role("button", name="Abschließen: Wasser läuft ohne Pause, Wasser Grundschule").click()
        await dialog.get_by_label("Notiz").fill("Spülkasten repariert")
        await dialog.get_by_role("button", name="Abschließen").click()
        await page.get_by_text("1 stehen an").wait_for()
        await page.get_by_role("link", name="English").click()
        await page.get_by_text("1 stand, an estimated €58.88 too much.").wait_for()
    assert visitor.hosts == {"127.0.0.1"}
    assert visitor.complaints == []
