"""The one place where settings become sessions, login, pages and an HTTP application. Nothing here runs at import."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import nicegui
from fastapi import FastAPI
from nicegui import ui
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles

from servicekit.auth import IssuerKeys
from servicekit.client import ServiceChannel, connect
from servicekit.clock import Clock, clock_from_settings
from servicekit.metrics import CLOCK_SPEED
from servicekit.settings import split_address
from services.admin.auth import OpenId
from services.admin.guard import Guard, Place
from services.admin.id_token import IdTokenJudge
from services.admin.pages import (
    endpoints_page,
    faults_page,
    findings_page,
    live_page,
    meter_page,
    meters_page,
    preview_page,
    protection_page,
    reading_page,
    sensors_page,
    town_page,
    waivers_page,
)
from services.admin.seal import Seal
from services.admin.session import Sessions
from services.admin.settings import AdminSettings
from services.admin.web import Web

STATIC: Final = Path(__file__).parent / "static"
SMALLEST_ZIPPED_BYTES: Final = 800


@dataclass
class Admin:
    """The web UI, put together. `app` is what an HTTP server runs."""

    settings: AdminSettings
    clock: Clock
    sessions: Sessions
    openid: OpenId
    place: Place
    app: FastAPI = field(init=False)
    _registry: ServiceChannel | None = None

    def registry(self) -> ServiceChannel:
        """A channel to the registry that shows no token: for its state only."""
        if self._registry is None:
            self._registry = connect(self.settings.registry_address, self.settings)
        return self._registry

    @contextlib.asynccontextmanager
    async def running(self, _app: FastAPI) -> AsyncIterator[None]:
        """While the application runs: forgotten sessions are swept out; at the end all of them."""
        sweeping = asyncio.create_task(self.sessions.keep_swept(), name="sweep sessions")
        self.registry().get_state(try_to_connect=True)
        try:
            yield
        finally:
            sweeping.cancel()
            await self.sessions.close()
            if self._registry is not None:
                await self._registry.close()
                self._registry = None


def build(settings: AdminSettings, port: int, clock: Clock | None = None) -> Admin:
    """The web UI that browsers reach at `port`, unless the settings name a public address."""
    clock = clock or clock_from_settings(settings)
    CLOCK_SPEED.set(clock.speed)
    keys = IssuerKeys(settings.oidc_issuer, settings.oidc_jwks_uri, real=clock.real)
    judge = IdTokenJudge(
        keys,
        issuer=settings.oidc_issuer,
        client_id=settings.admin_client_id,
        skew_s=settings.clock_skew_s,
        real=clock.real,
    )
    openid = OpenId(
        issuer=settings.oidc_issuer,
        client_id=settings.admin_client_id,
        scope=settings.admin_scope,
        judge=judge,
        real=clock.real,
    )
    place = Place(settings.public_url, port)
    admin = Admin(settings, clock, Sessions(settings, clock), openid, place)
    admin.app = _application(admin)
    return admin


def _application(admin: Admin) -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=admin.running)
    seal = Seal(admin.settings.session_secret.get_secret_value(), "login", admin.clock.real)
    web = Web(admin.openid, admin.sessions, admin.place, seal, admin.registry)
    app.add_route("/", web.start)
    app.add_route("/de", web.choose)
    app.add_route("/en", web.choose)
    app.add_route("/login", web.login)
    app.add_route("/auth/callback", web.callback)
    app.add_route("/logout", web.logout, methods=["POST"])
    app.add_route("/signed-out", web.signed_out)
    app.add_route("/session", web.session)
    app.add_route("/healthz", web.healthz)
    app.add_route("/metrics", web.metrics)
    app.add_route("/favicon.ico", lambda _request: FileResponse(STATIC / "favicon.svg", media_type="image/svg+xml"))
    app.mount("/static", StaticFiles(directory=STATIC))
    town_page.register(simulated=admin.settings.simulated)
    for each in (faults_page, waivers_page, sensors_page, preview_page, protection_page, endpoints_page):
        each.register(simulated=admin.settings.simulated)
    for of_meters in (meters_page, meter_page, reading_page, findings_page):
        of_meters.register(simulated=admin.settings.simulated)
    nicegui.app.on_page_exception(town_page.error_content)
    ui.run_with(
        app,
        title="Lichtbuch",
        favicon=STATIC / "favicon.svg",
        tailwind=False,
        binding_refresh_interval=None,
        reconnect_timeout=live_page.RECONNECT_S,
        show_welcome_message=False,
        gzip_middleware_factory=None,
    )
    app.add_middleware(Guard, place=admin.place, sessions=admin.sessions, issuer_origin=admin.openid.origin)
    app.add_middleware(GZipMiddleware, minimum_size=SMALLEST_ZIPPED_BYTES)
    return app


def listen(settings: AdminSettings) -> socket.socket:
    """A socket bound to the address of the settings, so that a taken port is told at once. Raises OSError."""
    host, port = split_address(settings.admin_listen, lowest_port=0)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener
