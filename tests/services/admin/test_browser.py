"""The page in a real browser: real issuer process, real web UI process, real gRPC. Nothing may leave the machine."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.async_api import Locator, Page, async_playwright

from services.admin.texts import words
from tests.services.admin.test_faults_page import stands, three
from tests.services.admin.town_endpoints import commission
from tests.services.admin.town_planning import plan
from tests.services.admin.town_services import Town, TownServices, name
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[3]
PHONE = 390
"""Width of a phone in CSS pixels."""
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

NAMELESS = """() =>
  [...document.querySelectorAll("input, select, textarea, button, a, [role=button], [role=region], section")]
    .filter((e) => e.offsetParent !== null)
    .filter((e) => !(e.getAttribute("aria-label") || e.innerText?.trim() || e.labels?.length || e.title))
    .map((e) => e.outerHTML.slice(0, 120))"""
"""What a screen reader could not call by a name."""

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def chromium() -> str:
    """The system's Chromium. In CI its absence fails the tests; elsewhere it skips them."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        reason = "no Chromium is installed (make system-packages)"
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return found


def start_admin(port: int, services: TownServices, issuer_url: str, log: Path) -> subprocess.Popen[bytes]:
    """Starts the web UI as a process of its own."""
    environment = os.environ | services.environment()
    environment |= {
        "LICHTBUCH_OIDC_ISSUER": issuer_url,
        "LICHTBUCH_ADMIN_LISTEN": f"127.0.0.1:{port}",
        "LICHTBUCH_DATA_DIR": str(log.parent),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto' / 'gen'}",
    }
    with log.open("ab") as stream:
        return subprocess.Popen([sys.executable, "-m", "services.admin"], env=environment, cwd=ROOT, stderr=stream)


class Admin:
    """The web UI as a process of its own, on a port that stays the same over stops and starts."""

    def __init__(self, services: TownServices, issuer_url: str, log: Path) -> None:
        self._services, self._issuer_url, self._log, self._port = services, issuer_url, log, free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.address = f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> "Admin":
        await self.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.stop()
        assert "Traceback" not in self._log.read_text()

    async def start(self) -> None:
        """Starts it and waits until it answers."""
        self._process = start_admin(self._port, self._services, self._issuer_url, self._log)
        async with asyncio.timeout(120):
            while not await answers(self.address):
                assert self._process.poll() is None, self._log.read_text()

    async def stop(self) -> None:
        """Ends it; it ends as it should."""
        assert self._process is not None
        self._process.terminate()
        try:
            assert await asyncio.to_thread(self._process.wait, 60) == 0, self._log.read_text()
        finally:
            self._process.kill()


async def answers(address: str) -> bool:
    """Whether the web UI says that it is healthy."""
    async with httpx.AsyncClient(verify=False, timeout=120) as http:  # no TLS is spoken
        try:
            return (await http.get(f"{address}/healthz")).status_code == 200
        except httpx.ConnectError:
            await asyncio.sleep(0.1)
            return False


class Visit:
    """A browser's page with everything that it asked for and complained about."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.hosts: set[str] = set()
        self.complaints: list[str] = []
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).hostname or ""))
        page.on("websocket", lambda opened: self.hosts.add(urlsplit(opened.url).hostname or ""))
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _said(self, message: object) -> None:
        kind, text = getattr(message, "type", ""), getattr(message, "text", "")
        if kind in ("error", "warning"):
            self.complaints.append(f"{kind}: {text}")

    async def log_in(self, username: str) -> None:
        """Fills in the issuer's form."""
        await self.page.fill("#username", username)
        await self.page.fill("#password", f"demo-{username}")
        await self.page.click("button[type=submit]")

    async def until_lamp(self, identity: str, **wanted: int) -> None:
        """Waits until the map shows a lamp so."""
        script = """([id, wanted]) => {
          const shown = getElement(document.querySelector(".lamp-map")).shown(id);
          return shown && Object.keys(wanted).every((key) => shown[key] === wanted[key]);
        }"""
        await self.page.wait_for_function(script, arg=[identity, wanted])


@asynccontextmanager
async def visit(chromium: str, locale: str = "de-DE", width: int = 1400) -> AsyncIterator[Visit]:
    """A fresh browser with a window so wide."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        context = await browser.new_context(locale=locale, viewport={"width": width, "height": 1000})
        context.set_default_timeout(60_000)
        yield Visit(await context.new_page())
        await browser.close()


async def test_an_operator_logs_in_watches_the_lamps_and_sets_one(
    chromium: str, town: Town, services: TownServices, issuer_url: str, tmp_path: Path
) -> None:
    town.states["L-0002"].update(actual=350, due=350)
    async with Admin(services, issuer_url, tmp_path / "log") as admin, visit(chromium) as visitor:
        page, address = visitor.page, admin.address
        await page.goto(address)
        assert page.url.startswith(issuer_url)
        await visitor.log_in("operator")
        await page.wait_for_url(f"{address}/de/bad-hersfeld")

        await page.wait_for_selector('.lamp-map[data-lamps="6"]')
        await visitor.until_lamp("L-0001", actual=1000, look=0)
        await visitor.until_lamp("L-0002", actual=350, look=1)
        await services.town.show(["L-0001"], actual=0, faults=1)
        await visitor.until_lamp("L-0001", actual=0, look=3)

        await page.get_by_label("Leuchte suchen").fill("L-0004")
        await page.keyboard.press("Enter")
        await page.get_by_role("button", name="Diese Leuchte stellen").click()
        form = page.locator(".level-form-card")
        await form.get_by_label("Helligkeit in Prozent").fill("20")
        await form.get_by_label("Grund").fill("Straßenfest")
        await page.keyboard.press("Enter")
        await page.locator(".overrides-card").get_by_text("Straßenfest").wait_for()
        await visitor.until_lamp("L-0004", actual=200, due=200, source=4)
        assert next(iter(services.town.overrides.values())).targets == [name("luminaires", "L-0004")]

        await page.locator(".overrides-card").get_by_role("button", name="Aufheben").click()
        await page.get_by_role("dialog").get_by_role("button", name="Aufheben").click()
        await page.get_by_text(words("de")["no_overrides"]).wait_for()

        assert await page.evaluate("document.cookie") == "lichtbuch_language=de"
        await page.get_by_role("button", name="Abmelden").click()
        await page.get_by_role("heading", name="Sie sind abgemeldet").wait_for()
        await page.goto(f"{address}/de/bad-hersfeld")
        assert page.url.startswith(issuer_url)
    assert visitor.hosts == {"127.0.0.1"}
    assert visitor.complaints == []


async def test_on_a_phone_nothing_is_wider_than_the_screen_and_everything_has_a_name(
    chromium: str, services: TownServices, issuer_url: str, tmp_path: Path
) -> None:
    async with Admin(services, issuer_url, tmp_path / "log") as admin, visit(chromium, "en-GB", PHONE) as visitor:
        page, address = visitor.page, admin.address
        await page.goto(address)
        await visitor.log_in("operator")
        await page.wait_for_selector('.lamp-map[data-lamps="6"]')
        await page.get_by_text("201.25").first.wait_for()
        await page.wait_for_function(f"document.documentElement.scrollWidth <= {PHONE}")
        assert await page.get_attribute("html", "lang") == "en-GB"
        assert await page.evaluate(NAMELESS) == []
        reached = set()
        for _ in range(25):
            await page.keyboard.press("Tab")
            reached.add(
                await page.evaluate(
                    "document.activeElement?.getAttribute('aria-label') || document.activeElement?.innerText"
                )
            )
        assert {"Deutsch", "Log out", "Zoom in", "Show all"} <= reached
    assert visitor.hosts == {"127.0.0.1"}
    assert visitor.complaints == []


async def test_a_fitter_s_list_of_work_in_a_real_browser(
    chromium: str, town: Town, services: TownServices, issuer_url: str, tmp_path: Path
) -> None:
    stands(town, *three())
    async with Admin(services, issuer_url, tmp_path / "log") as admin, visit(chromium) as visitor:
        page, address = visitor.page, admin.address
        await page.goto(f"{address}/de/bad-hersfeld")
        await visitor.log_in("operator")
        await page.get_by_role("link", name="Störungen (3)").click()
        await page.wait_for_url(f"{address}/de/bad-hersfeld/faults")
        street = page.get_by_role("region", name="Mondgasse")
        await street.get_by_text("41,3 W statt 22,8 W").wait_for()
        await street.get_by_role("button", name="Quittieren: Leuchte L-0001").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Notiz").fill("Leiter am Dienstag")
        await dialog.get_by_role("button", name="Quittieren").click()
        await street.get_by_text("Leiter am Dienstag").wait_for()
        form = page.locator(".report-form-card")
        await form.get_by_label("Welche").first.fill("L-0004")
        await form.get_by_label("Was ist nicht in Ordnung").fill("flackert seit gestern")
        await page.keyboard.press("Enter")
        await page.locator(".fault").get_by_text("flackert seit gestern").wait_for()
        if picture := os.environ.get("LICHTBUCH_SCREENSHOT"):
            await page.screenshot(path=picture, full_page=True)
        await page.set_viewport_size({"width": PHONE, "height": 800})
        await page.wait_for_function(f"document.documentElement.scrollWidth <= {PHONE}")
        if picture:
            await page.screenshot(path=picture.replace(".png", "-phone.png"), full_page=True)
        await page.get_by_role("link", name="English").click()
        await page.wait_for_url(f"{address}/en/bad-hersfeld/faults")
        await page.get_by_text("4 stand, 3 of them nobody knows of yet.").wait_for()
    assert visitor.hosts == {"127.0.0.1"}
    assert visitor.complaints == []


async def test_a_planner_walks_from_waivers_over_sensors_to_a_preview_and_takes_files_along(
    chromium: str, town: Town, services: TownServices, issuer_url: str, tmp_path: Path
) -> None:
    plan(town)
    commission(town)
    stands(town, *three())
    async with Admin(services, issuer_url, tmp_path / "log") as admin, visit(chromium) as visitor:
        page, address = visitor.page, f"{admin.address}/de/bad-hersfeld"
        await page.goto(f"{address}/waivers")
        await visitor.log_in("admin")
        await page.wait_for_url(f"{address}/waivers")
        await page.get_by_role("region", name="Prüfdatum überschritten").get_by_text("StVV 2023-7").wait_for()
        form = page.locator(".waiver-form-card")
        await form.get_by_label("Was", exact=True).click()
        await page.get_by_role("option", name="Ganze Stadt").click()
        await form.get_by_label("Aktenzeichen").fill("StVV 2026/114")
        await form.get_by_label("Beschlossen am").fill("2026-01-15")
        await form.get_by_label("Prüfdatum").fill("2026-01-20")
        await form.get_by_label("Grund").fill("Sternennacht")
        await page.keyboard.press("Enter")
        await form.get_by_text("is over already").wait_for()
        review = (town.clock.now() + timedelta(days=700)).date().isoformat()
        await form.get_by_label("Prüfdatum").fill(review)
        await page.keyboard.press("Enter")
        await page.get_by_role("region", name="Gelten jetzt").get_by_text("StVV 2026/114").wait_for()
        await picture(page, "waivers")

        await page.get_by_role("link", name="Sensoren").click()
        await page.get_by_text("72 je Stunde").wait_for()
        await page.get_by_text("Wohngebiete nachts (Regel 1)").wait_for()
        await page.get_by_role("button", name="Wert eingeben: Dach").click()
        await page.get_by_role("dialog").get_by_label("Wert").fill("12")
        await page.keyboard.press("Enter")
        await page.get_by_text("12 lx").wait_for()
        await picture(page, "sensors")

        await page.get_by_role("link", name="Ausfallverhalten").click()
        await page.get_by_text("4 Leuchten ohne gesichertes Ausfallverhalten").wait_for()
        await picture(page, "protection")

        await page.get_by_role("link", name="Endpunkte").click()
        await page.get_by_text("3 von 3 Leuchten antworten").first.wait_for()
        await picture(page, "endpoints")
        await page.get_by_role("button", name="Weiter: in Betrieb: gw-2").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_text("Von da an schreibt Lichtbuch auf diese 3 Leuchten.").wait_for()
        await dialog.get_by_label("Grund").fill("jeder Mast abgegangen")
        await picture(page, "endpoint-release")
        await dialog.get_by_role("button", name="Jetzt: in Betrieb").click()
        await page.get_by_role("region", name="in Betrieb").get_by_text("jeder Mast abgegangen").wait_for()

        await page.get_by_role("link", name="Vorschau").click()
        text = page.get_by_label("Profil als Text")
        await page.wait_for_function("() => document.querySelector('.profile-text textarea')?.value.includes('22:30')")
        await text.fill((await text.input_value()).replace("level = 50", "level = 30"))
        await page.locator(".preview-form-card").get_by_role("button", name="Vorschau").click()
        outlook = page.locator(".outlook-card")
        await outlook.get_by_text("school holidays").wait_for()
        await outlook.locator(".chart.year canvas").wait_for()
        await outlook.locator(".chart svg").first.wait_for()
        await picture(page, "preview")
        months = await saved(page, outlook.get_by_role("button", name="Monate als CSV"))
        assert months.startswith("month,what,burning_hours")
        assert "\ntotal,full," in months
        events = await saved(page, outlook.get_by_role("button", name="Schaltzeiten als CSV"))
        assert len(events.splitlines()) == 1 + 1 + 365 * 4
        await page.locator(".preview-form-card").get_by_role("button", name="Speichern").click()
        await page.get_by_text("Gespeichert, Fassung 4.").wait_for()

        await page.get_by_role("link", name="Störungen (3)").click()
        faults = await saved(page, page.get_by_role("button", name="Liste als CSV"))
        assert [line.split(",")[1] for line in faults.splitlines()[1:]] == ["Mondgasse", "Mondgasse", "Sternweg"]
        street = await saved(page, page.get_by_role("button", name="Als CSV: Sternweg"))
        assert street.count("\n") == 2
        await picture(page, "faults")
    assert visitor.hosts == {"127.0.0.1"}
    assert visitor.complaints == []


async def saved(page: Page, button: Locator) -> str:
    """What the browser saves after a click."""
    async with page.expect_download() as started:
        await button.click()
    path = await (await started.value).path()
    return await asyncio.to_thread(path.read_text, encoding="utf-8-sig")


async def picture(page: Page, name: str) -> None:
    """On a phone nothing is wider than the screen, everything has a name. Pictures of both sizes for who wants them."""
    folder = os.environ.get("LICHTBUCH_SCREENSHOTS")
    if folder:
        await page.screenshot(path=f"{folder}/{name}.png", full_page=True)
    await page.set_viewport_size({"width": PHONE, "height": 800})
    await page.wait_for_function(f"document.documentElement.scrollWidth <= {PHONE}")
    assert await page.evaluate(NAMELESS) == []
    if folder:
        await page.wait_for_timeout(400)  # charts follow the width
        await page.screenshot(path=f"{folder}/{name}-phone.png", full_page=True)
    await page.set_viewport_size({"width": 1400, "height": 1000})


@pytest.mark.long
async def test_a_page_left_open_over_a_restart_leads_to_the_login(
    chromium: str, services: TownServices, issuer_url: str, tmp_path: Path
) -> None:
    async with Admin(services, issuer_url, tmp_path / "log") as admin, visit(chromium) as visitor:
        page = visitor.page
        await page.goto(f"{admin.address}/de/bad-hersfeld")
        await visitor.log_in("viewer")
        await page.wait_for_selector('.lamp-map[data-lamps="6"]')
        await admin.stop()
        await page.locator("#popup").wait_for()
        await admin.start()
        await page.wait_for_selector("#username")
        assert page.url.startswith(issuer_url)
        await visitor.log_in("viewer")
        await page.wait_for_selector('.lamp-map[data-lamps="6"]')
        assert page.url == f"{admin.address}/de/bad-hersfeld"
