"""The web UI in the test's own process: the whole application behind its guard, and browsers that log in to it."""

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from typing import Any
from urllib.parse import urlsplit

import httpx
from nicegui import Client, ui
from nicegui.functions.download import download
from nicegui.functions.navigate import Navigate
from nicegui.functions.notify import notify
from nicegui.testing import User
from nicegui.testing.general import nicegui_reset_globals, prepare_simulation

from servicekit.clock import Clock
from services.admin.app import Admin, build
from services.admin.settings import AdminSettings
from tests.services.admin.town_services import SERVICES, TownServices

BASE = "http://localhost:8080"


class Application:
    """A running application and its browsers."""

    def __init__(self, admin: Admin) -> None:
        self.admin = admin
        self._browsers: list[httpx.AsyncClient] = []

    def browser(self, language: str = "de", **headers: str) -> httpx.AsyncClient:
        """A browser with a cookie jar of its own. It follows no redirect by itself."""
        transport = httpx.ASGITransport(self.admin.app)
        given = {"accept-language": language, **headers}
        browser = httpx.AsyncClient(transport=transport, base_url=BASE, headers=given)
        self._browsers.append(browser)
        return browser

    async def log_in(
        self, username: str, browser: httpx.AsyncClient | None = None, path: str = "/"
    ) -> httpx.AsyncClient:
        """A browser that has logged in as a demonstration user, by way of the real issuer."""
        browser = browser or self.browser()
        started = await browser.get("/login", params={"to": path})
        assert started.status_code == 303, started.text
        answer = await browser.get(await callback_address(started.headers["location"], username))
        assert answer.status_code == 303, answer.text
        return browser

    async def open(self, username: str, path: str = "/de/bad-hersfeld", language: str = "de") -> User:
        """A simulated user who is logged in and looks at a page."""
        user = User(await self.log_in(username, self.browser(language), path))
        await user.open(path)
        return user

    async def close(self) -> None:
        """Closes the browsers."""
        for browser in self._browsers:
            await browser.aclose()


async def callback_address(authorization_url: str, username: str) -> str:
    """What the issuer sends the browser back to after a login, as a path of ours."""
    # No TLS is spoken; its certificates take long to load.
    async with httpx.AsyncClient(verify=False, timeout=60) as http:
        page = await http.get(authorization_url)
        assert page.status_code == 200, page.text
        fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.text))
        form = {key: unescape(value) for key, value in fields.items()}
        form |= {"username": username, "password": f"demo-{username}"}
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(authorization_url))
        answer = await http.post(f"{origin}/login", data=form)
        assert answer.status_code == 303, answer.text
    back = urlsplit(answer.headers["location"])
    return f"{back.path}?{back.query}"


@asynccontextmanager
async def running_application(
    services: TownServices, issuer_url: str, *, clock: Clock | None = None, **values: Any
) -> AsyncIterator[Application]:
    """The application, ready for requests; NiceGUI's globals are as before afterwards."""
    given: dict[str, Any] = {f"{service}_address": services.address(service) for service in SERVICES}
    settings = AdminSettings(oidc_issuer=issuer_url, **(given | values))
    with nicegui_reset_globals():
        os.environ["NICEGUI_USER_SIMULATION"] = "true"
        prepare_simulation()
        application = Application(build(settings, 8080, clock))
        app = application.admin.app
        try:
            async with app.router.lifespan_context(app):
                yield application
                await application.close()
                for client in list(Client.instances.values()):
                    client.delete()
        finally:
            # NiceGUI would take the modules of our pages for the test's own and throw them out.
            Client.page_routes.clear()
            os.environ.pop("NICEGUI_USER_SIMULATION", None)
            ui.navigate, ui.notify, ui.download = Navigate(), notify, download
