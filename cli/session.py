"""What an online command works with: where the services are, who is calling, and for which town.

Addresses come from the environment (LICHTBUCH_LIGHTING_ADDRESS ...) and default to those of `make run`. The token
comes from LICHTBUCH_TOKEN or from `lichtbuch login`, which keeps it in a file that only its owner can read.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

import grpc

from domain.errors import InvalidInput, NotAuthenticated
from domain.names import ResourceName
from lichtbuch.ledger.v1 import ledger_pb2_grpc
from lichtbuch.lighting.v1 import lighting_pb2_grpc
from lichtbuch.metering.v1 import metering_pb2_grpc
from lichtbuch.registry.v1 import registry_pb2, registry_pb2_grpc
from lichtbuch.scheduler.v1 import scheduler_pb2_grpc
from servicekit.client import connect
from servicekit.tokens import StaticToken

T = TypeVar("T")

ADDRESSES: Final = {
    "registry": "127.0.0.1:7101",
    "lighting": "127.0.0.1:7102",
    "scheduler": "127.0.0.1:7103",
    "metering": "127.0.0.1:7104",
    "ledger": "127.0.0.1:7105",
}
CREDENTIALS: Final = "credentials.json"
PAGE: Final = 1_000


def config_dir() -> Path:
    """Folder of the command's own files: LICHTBUCH_CONFIG_DIR, else below the user's configuration."""
    given = os.environ.get("LICHTBUCH_CONFIG_DIR")
    base = os.environ.get("XDG_CONFIG_HOME")
    return Path(given) if given else (Path(base) if base else Path.home() / ".config") / "lichtbuch"


def save_token(token: str, expires_at: datetime, issuer: str) -> Path:
    """Keep a token for the next commands; readable by its owner only."""
    folder = config_dir()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / CREDENTIALS
    content = json.dumps({"token": token, "expires_at": expires_at.isoformat(), "issuer": issuer})
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
    return path


def load_token() -> str:
    """The caller's token. Raises NotAuthenticated where there is none or it has ended."""
    if token := os.environ.get("LICHTBUCH_TOKEN"):
        return token
    path = config_dir() / CREDENTIALS
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        token, expires_at = str(kept["token"]), datetime.fromisoformat(kept["expires_at"])
    except FileNotFoundError:
        raise NotAuthenticated("you are not logged in") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotAuthenticated(f"{path} cannot be read: {error}") from error
    if expires_at <= datetime.now(UTC):
        raise NotAuthenticated(f"your login ended at {expires_at:%Y-%m-%d %H:%M} UTC")
    return token


@dataclass(frozen=True)
class Tls:
    """TLS of the command's channels, from the environment."""

    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None

    @classmethod
    def from_environment(cls) -> Tls:
        """LICHTBUCH_TLS_CA, LICHTBUCH_TLS_CERTIFICATE, LICHTBUCH_TLS_KEY; without the first, no TLS."""
        paths = (os.environ.get(f"LICHTBUCH_{name}") for name in ("TLS_CA", "TLS_CERTIFICATE", "TLS_KEY"))
        return cls(*(Path(path) if path else None for path in paths))


@dataclass
class Session:
    """Channels to the services, opened when first used, for one run of the command."""

    municipality_id: str = ""
    token: str = ""
    addresses: Mapping[str, str] = field(default_factory=dict)
    _channels: dict[str, grpc.aio.Channel] = field(default_factory=dict)
    _municipality: registry_pb2.Municipality | None = None

    def channel(self, service: str) -> grpc.aio.Channel:
        """The channel to a service."""
        if service not in self._channels:
            target = os.environ.get(f"LICHTBUCH_{service.upper()}_ADDRESS", ADDRESSES[service])
            self._channels[service] = connect(
                self.addresses.get(service, target),
                Tls.from_environment(),
                StaticToken(self.token or load_token()),
                deadline_s=30.0,
            )
        return self._channels[service]

    @property
    def registry(self) -> registry_pb2_grpc.RegistryServiceAsyncStub:
        """The registry."""
        return registry_pb2_grpc.RegistryServiceStub(self.channel("registry"))

    @property
    def lighting(self) -> lighting_pb2_grpc.LightingServiceAsyncStub:
        """The lighting service."""
        return lighting_pb2_grpc.LightingServiceStub(self.channel("lighting"))

    @property
    def scheduler(self) -> scheduler_pb2_grpc.SchedulerServiceAsyncStub:
        """The scheduler."""
        return scheduler_pb2_grpc.SchedulerServiceStub(self.channel("scheduler"))

    @property
    def metering(self) -> metering_pb2_grpc.MeteringServiceAsyncStub:
        """The metering service."""
        return metering_pb2_grpc.MeteringServiceStub(self.channel("metering"))

    @property
    def ledger(self) -> ledger_pb2_grpc.LedgerServiceAsyncStub:
        """The ledger."""
        return ledger_pb2_grpc.LedgerServiceStub(self.channel("ledger"))

    async def municipality(self) -> registry_pb2.Municipality:
        """The town that the command is about: the one named, else the only one that the caller may see."""
        if self._municipality is None:
            if self.municipality_id:
                name = self.municipality_id
                name = name if name.startswith("municipalities/") else f"municipalities/{name}"
                ResourceName.parse(name, field="municipality")
                self._municipality = await self.registry.GetMunicipality(registry_pb2.GetMunicipalityRequest(name=name))
            else:
                seen = await self.registry.ListMunicipalities(registry_pb2.ListMunicipalitiesRequest())
                if len(seen.municipalities) != 1:
                    names = ", ".join(item.name.split("/")[1] for item in seen.municipalities) or "none"
                    raise InvalidInput.of("municipality", f"say which one with --municipality; you may see: {names}")
                self._municipality = seen.municipalities[0]
        return self._municipality

    async def parent(self) -> str:
        """The town's resource name."""
        return (await self.municipality()).name

    async def zone(self) -> ZoneInfo:
        """The town's time zone."""
        return ZoneInfo((await self.municipality()).time_zone or "Europe/Berlin")

    async def name(self, collection: str, given: str) -> str:
        """A resource name from what a person types: a whole name, or the last part of one in the town."""
        return given if "/" in given else f"{await self.parent()}/{collection}/{given}"

    async def close(self) -> None:
        """Close every channel."""
        for channel in self._channels.values():
            await channel.close(None)


@asynccontextmanager
async def open_session(municipality: str = "") -> AsyncIterator[Session]:
    """A session that closes its channels at the end."""
    session = Session(municipality or os.environ.get("LICHTBUCH_MUNICIPALITY", ""))
    try:
        yield session
    finally:
        await session.close()


def online(work: Callable[[Session], Awaitable[T]], municipality: str = "") -> T:
    """Run `work` with a session, from a command that is no coroutine."""

    async def run() -> T:
        async with open_session(municipality) as session:
            return await work(session)

    coroutine: Coroutine[Any, Any, T] = run()
    return asyncio.run(coroutine)


async def all_pages(call: Callable[[Any], Awaitable[Any]], request: Any, field_name: str) -> list[Any]:
    """Every item of a paged list."""
    found: list[Any] = []
    request.page_size = PAGE
    while True:
        answer = await call(request)
        found.extend(getattr(answer, field_name))
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token
