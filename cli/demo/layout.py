"""Processes, ports, folders and settings of a town on one machine. Pure but for reading nothing and writing nothing.

The end-to-end tests run the same layout on free ports.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from domain.night import local_instant

SERVICES: Final = ("registry", "lighting", "scheduler", "metering", "ledger")
ADMIN_SUBJECT: Final = "u-0c7b62ef"  # the issuer's demonstration user "admin"
BERLIN: Final = ZoneInfo("Europe/Berlin")
# A time-lapse begins so long before noon, in real seconds, that the town is set up when its first night begins.
SETTING_UP_S: Final = 60.0

DEFAULT_PORTS: Final[Mapping[str, int]] = {
    "issuer": 7110,
    "simulator": 7120,
    "admin": 8080,
    "modbus": 15_000,
    "opcua": 14_840,
    **{service: 7101 + number for number, service in enumerate(SERVICES)},
    **{f"{service}-metrics": 7201 + number for number, service in enumerate(SERVICES)},
}


@dataclass(frozen=True)
class Layout:
    """One town on one machine. `directory` holds everything it writes; durations in seconds."""

    directory: Path
    speed: float = 1.0
    anchor: datetime | None = None
    start: datetime | None = None
    luminaires: int = 5_300
    cabinets: int = 100
    monitored: int | None = 22  # None is the simulator's own share
    buildings: int = 3
    seed: int = 1
    consumption: tuple[str, ...] = ()
    inventory: Path | None = None  # a plain CSV file: its town instead of the built-in one
    municipality: str = ""  # id of the town; empty for the built-in one's
    time_zone: str = ""
    ports: Mapping[str, int] = field(default_factory=lambda: dict(DEFAULT_PORTS))
    database_urls: Mapping[str, str] = field(default_factory=dict)
    log_level: str = "warning"

    @property
    def issuer(self) -> str:
        """URL of the demonstration issuer."""
        return f"http://127.0.0.1:{self.ports['issuer']}"

    @property
    def simulator(self) -> str:
        """URL of the simulator's control interface."""
        return f"http://127.0.0.1:{self.ports['simulator']}"

    @property
    def admin(self) -> str:
        """URL of the web UI."""
        return f"http://127.0.0.1:{self.ports['admin']}"

    def address(self, service: str) -> str:
        """Address of a service's gRPC server."""
        return f"127.0.0.1:{self.ports[service]}"

    def addresses(self) -> dict[str, str]:
        """Addresses of all gRPC servers, by service."""
        return {service: self.address(service) for service in SERVICES}

    def clock(self) -> dict[str, str]:
        """The clock that all processes share; empty for real time."""
        if self.speed == 1 and self.start is None:
            return {}
        anchor = self.anchor or datetime.now(UTC)
        start = self.start or anchor
        return {
            "LICHTBUCH_CLOCK_ANCHOR": anchor.isoformat(),
            "LICHTBUCH_CLOCK_START": start.isoformat(),
            "LICHTBUCH_CLOCK_SPEED": f"{self.speed:g}",
        }

    def environment(self) -> dict[str, str]:
        """Settings that all processes share."""
        addresses = {f"LICHTBUCH_{service.upper()}_ADDRESS": self.address(service) for service in SERVICES}
        return self.clock() | addresses | {"LICHTBUCH_OIDC_ISSUER": self.issuer, "PYTHONUNBUFFERED": "1"}

    def own_environment(self, process: str) -> dict[str, str]:
        """Settings of one process."""
        data = self.directory / "data" / process
        if process == "issuer":
            return {"LICHTBUCH_ISSUER_PORT": str(self.ports["issuer"]), "LICHTBUCH_ISSUER_DATA_DIR": str(data)}
        secret = self.directory / "data" / "issuer" / "client-secrets" / f"service-{process}"
        own = {
            "LICHTBUCH_DATA_DIR": str(data),
            "LICHTBUCH_LOG_FORMAT": "console",
            "LICHTBUCH_LOG_LEVEL": self.log_level,
        }
        if process == "admin":
            return own | {
                "LICHTBUCH_ADMIN_LISTEN": f"127.0.0.1:{self.ports['admin']}",
                "LICHTBUCH_SIMULATED": "true",
            }
        if process == "town" and self.municipality:
            own["LICHTBUCH_DEMO_MUNICIPALITY"] = self.municipality
        if process in SERVICES:
            own |= {
                "LICHTBUCH_LISTEN": self.address(process),
                "LICHTBUCH_METRICS_LISTEN": f"127.0.0.1:{self.ports[f'{process}-metrics']}",
                "LICHTBUCH_SERVICE_CLIENT_SECRET_FILE": str(secret),
            }
            if url := self.database_urls.get(process):
                own["LICHTBUCH_DATABASE_URL"] = url
        if process == "registry":
            own["LICHTBUCH_BOOTSTRAP_ADMIN"] = ADMIN_SUBJECT
        return own

    def arguments(self, process: str) -> list[str]:
        """The command line of a process, without the interpreter's name in front of -m."""
        if process == "issuer":
            return [sys.executable, "-m", "services.registry.issuer", "--demonstration"]
        if process == "simulator":
            sizes: dict[str, object] = {"--luminaires": self.luminaires, "--cabinets": self.cabinets}
            if self.inventory is not None:
                sizes = {"--inventory": self.inventory}
            if self.time_zone:
                sizes["--time-zone"] = self.time_zone
            if self.monitored is not None:
                sizes["--monitored"] = self.monitored
            sizes |= {
                "--buildings": self.buildings,
                "--seed": self.seed,
                "--port": self.ports["simulator"],
                "--modbus-port": self.ports["modbus"],
                "--opcua-port": self.ports["opcua"],
            }
            options = [str(part) for option, value in sizes.items() for part in (option, value)]
            options += [part for pair in self.consumption for part in ("--consumption", pair)]
            return [sys.executable, "-m", "simulator", *options]
        if process == "town":
            return [sys.executable, "-m", "cli.demo.town"]
        return [sys.executable, "-m", f"services.{process}"]

    def processes(self) -> list[str]:
        """Every process, in the order in which they are started."""
        return ["issuer", "simulator", *SERVICES, "admin", "town"]

    def procfile(self) -> str:
        """The processes for a Procfile runner; each with its own settings in front."""
        lines = []
        for process in self.processes():
            own = [f"{name}={shlex.quote(value)}" for name, value in self.own_environment(process).items()]
            lines.append(f"{process}: {' '.join(['exec env', *own, *map(shlex.quote, self.arguments(process))])}")
        return "\n".join(lines) + "\n"


def time_lapse_start(anchor: datetime, speed: float, zone: ZoneInfo = BERLIN) -> datetime:
    """Where a time-lapse begins: so that today's local noon comes when the town is set up."""
    noon = local_instant(anchor.astimezone(zone).date(), time(12), zone)
    return noon - timedelta(seconds=SETTING_UP_S * speed)
