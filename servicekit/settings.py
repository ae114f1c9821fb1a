"""Settings of a service, from the environment (prefix LICHTBUCH_), validated before anything starts.

A service subclasses `ServiceSettings`, names itself in `service` and adds its own fields. Not here: what they are for.
"""

import ipaddress
import os
import socket
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, NoReturn, Self, TypeVar

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from domain.timelapse import MAX_SPEED

PREFIX: Final = "LICHTBUCH_"
EXIT_BAD_SETTINGS: Final = 2

GRPC_PORTS: Final[Mapping[str, int]] = {
    "registry": 7101,
    "lighting": 7102,
    "scheduler": 7103,
    "metering": 7104,
    "ledger": 7105,
    "building": 7106,
}
METRICS_PORTS: Final[Mapping[str, int]] = {name: port + 100 for name, port in GRPC_PORTS.items()}


_TARGETS: Final = ("registry_address", "lighting_address", "scheduler_address", "metering_address", "ledger_address")


class ServiceSettings(BaseSettings):
    """What every service needs to know. Durations are real seconds."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True)

    service: ClassVar[str] = "service"
    """Name of the service: its identity, its schema, its default ports."""

    listen: str = ""
    """Address of the gRPC server, "host:port"; port 0 lets the system choose. Default: loopback, the service's port."""
    metrics_listen: str = ""
    """Address of the HTTP server with /metrics and /healthz; "off" for none. Default: loopback, the service's port."""
    health_listen: str = "off"
    """Address of a second gRPC server in the clear, health only, for probes that know no TLS; "off" for none."""
    allow_insecure_listen: bool = False
    """True lets the service listen and call beyond loopback without TLS: only where something else encrypts."""

    data_dir: Path = Path(".run/data")
    """Where the service keeps its files."""
    database_url: str = ""
    """sqlite:///... or postgresql://...; default: a SQLite file in data_dir."""
    database_pool: int = Field(default=8, ge=1, le=100)
    """Connections for what is asked at once; two more at most where that is not enough, and one for health."""
    migrate_on_start: bool = True
    """False where migrations run as a job of their own: python -m servicekit.migrate SERVICE."""

    registry_address: str = "127.0.0.1:7101"
    """Where the registry is asked, "host:port" or a gRPC name such as dns:///registry:7100."""
    lighting_address: str = "127.0.0.1:7102"
    """Where lighting is asked."""
    scheduler_address: str = "127.0.0.1:7103"
    """Where the scheduler is asked."""
    metering_address: str = "127.0.0.1:7104"
    """Where metering is asked."""
    ledger_address: str = "127.0.0.1:7105"
    """Where the ledger is asked."""

    tls_certificate: Path | None = None
    """PEM file with the certificate chain: of the server, and of this service as a client of others."""
    tls_key: Path | None = None
    """PEM file with its private key."""
    tls_client_ca: Path | None = None
    """PEM file with the authorities of clients; set, every client has to show a certificate (mutual TLS)."""
    tls_ca: Path | None = None
    """PEM file with the authorities of the servers that this service calls; set, it calls them over TLS."""

    oidc_issuer: str = "http://127.0.0.1:7110"
    """URL of the OpenID provider whose tokens are believed; https beyond loopback."""
    oidc_audience: str = "lichtbuch"
    """Audience that a token has to be for."""
    oidc_jwks_uri: str = ""
    """Where the issuer's keys are; default: what its discovery document says."""
    clock_skew_s: float = Field(default=30.0, ge=0, le=600)
    """How far the issuer's clock may be off ours."""
    service_client_id: str = ""
    """This service's client id at the issuer; default: "service-" and the name of the service."""
    service_client_secret: SecretStr = SecretStr("")
    """Its secret; empty where it is in a file, or where the service shows a client certificate instead."""
    service_client_secret_file: Path | None = None
    """File that holds nothing but the secret; read anew for each token, so that it can be rotated."""
    service_subjects: dict[str, str] = Field(default_factory=dict)
    """Token subjects that stand for services, where the issuer chooses them: {"subject": "name"}."""

    clock_start: datetime | None = None
    """Domain instant at the anchor, for a time-lapse. Default: the anchor."""
    clock_anchor: datetime | None = None
    """Real instant at which the run began, shared by all processes of a time-lapse."""
    clock_speed: float = Field(default=1.0, gt=0, le=MAX_SPEED)
    """Domain seconds per real second. Any but 1 may only talk to the simulator."""

    log_format: Literal["json", "console"] = "json"
    """One JSON object a line, or lines for people."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity that is written."""
    max_message_bytes: int = Field(default=4 * 1024 * 1024, ge=1024, le=256 * 1024 * 1024)
    """Largest message that is taken."""
    max_calls: int = Field(default=1000, ge=1, le=100_000)
    """Most calls at once, streams included; more of them are told to come back later."""
    max_streams: int = Field(default=200, ge=1, le=100_000)
    """Most server streams open at once."""
    default_deadline_s: float = Field(default=30.0, gt=0, le=3600)
    """Deadline of unary calls that bring none."""
    drain_s: float = Field(default=10.0, ge=0, le=600)
    """How long calls may go on after SIGTERM."""
    holder: str = ""
    """Name of this instance in leases, stable over restarts (a pod's name). Default: the host's name."""
    reflection: bool = True
    """True lets tools ask for the contract."""

    @field_validator("listen", "metrics_listen", mode="before")
    @classmethod
    def _default_address(cls, value: object, info: ValidationInfo) -> object:
        if value == "":
            ports = GRPC_PORTS if info.field_name == "listen" else METRICS_PORTS
            return f"127.0.0.1:{ports.get(cls.service, 0)}"
        return value

    @field_validator("listen", "metrics_listen", "health_listen")
    @classmethod
    def _check_listen(cls, value: str, info: ValidationInfo) -> str:
        if value == "off" and info.field_name != "listen":
            return value
        split_address(value, lowest_port=0)
        return value

    @field_validator(*_TARGETS)
    @classmethod
    def _check_target(cls, value: str) -> str:
        if not value.startswith(("dns:", "unix:", "ipv4:", "ipv6:")):
            split_address(value, lowest_port=1)
        return value

    @field_validator("tls_certificate", "tls_key", "tls_client_ca", "tls_ca")
    @classmethod
    def _check_pem(cls, value: Path | None) -> Path | None:
        if value is not None and b"-----BEGIN" not in _read_start(value):
            raise ValueError("the file is not in PEM format")
        return value

    @field_validator("oidc_issuer", "oidc_jwks_uri")
    @classmethod
    def _check_url(cls, value: str, info: ValidationInfo) -> str:
        if value == "" and info.field_name == "oidc_jwks_uri":
            return value
        scheme, _, rest = value.partition("://")
        host = rest.split("/", 1)[0].rsplit("@", 1)[-1]
        if scheme not in ("http", "https") or not host:
            raise ValueError("an http or https URL is needed")
        if scheme == "http" and not is_loopback(host.rsplit(":", 1)[0].strip("[]")):
            raise ValueError("https is needed for an issuer that is not on this machine")
        return value

    @field_validator("clock_start", "clock_anchor")
    @classmethod
    def _check_instant(cls, value: datetime | None) -> datetime | None:
        if value is not None and value.utcoffset() is None:
            raise ValueError("an instant with a time zone is needed, for instance 2026-06-21T10:00:00Z")
        return value and value.astimezone(UTC)

    @field_validator("database_url")
    @classmethod
    def _check_database(cls, value: str) -> str:
        schemes = ("sqlite:///", "postgresql://", "postgresql+psycopg://", "postgres://")
        if value and not value.startswith(schemes):
            raise ValueError("sqlite:///FILE or postgresql://HOST/DATABASE is needed")
        return value

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise _Wrong("tls_key", "certificate and key come together")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise _Wrong("tls_client_ca", "mutual TLS needs tls_certificate and tls_key")
        if not self.allow_insecure_listen:
            self._check_encrypted()
        if self.clock_anchor is None and (self.clock_speed != 1 or self.clock_start is not None):
            raise _Wrong("clock_anchor", "a time-lapse needs the instant at which its run began, shared by all")
        return self

    def _check_encrypted(self) -> None:
        # Metrics and probes carry nothing of the domain; the network guards them.
        if self.tls_certificate is None and not is_loopback(split_address(self.listen, lowest_port=0)[0]):
            raise _Wrong("listen", "listening beyond loopback needs TLS (or allow_insecure_listen behind a proxy)")
        for field in _TARGETS:
            if self.tls_ca is None and not _is_local_target(getattr(self, field)):
                raise _Wrong(field, "calling beyond loopback needs tls_ca: the token would travel in the clear")

    @property
    def resolved_database_url(self) -> str:
        """The URL of the database, the default filled in."""
        return self.database_url or f"sqlite:///{self.data_dir / (self.service + '.db')}"

    @property
    def resolved_holder(self) -> str:
        """Name of this instance in leases."""
        return self.holder or socket.gethostname()

    @property
    def resolved_client_id(self) -> str:
        """This service's client id at the issuer."""
        return self.service_client_id or f"service-{self.service}"


Settings = TypeVar("Settings", bound=BaseSettings)


class _Wrong(ValueError):
    """Something wrong about settings together, blamed on one of them."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


def split_address(address: str, *, lowest_port: int) -> tuple[str, int]:
    """Host and port of "host:port" or "[::1]:port". Raises ValueError with the reason."""
    host, colon, port_text = address.rpartition(":")
    if not colon or not host:
        raise ValueError("host:port is needed")
    if not port_text.isascii() or not port_text.isdigit() or not lowest_port <= int(port_text) <= 65535:
        raise ValueError(f"{port_text!r} is not a port ({lowest_port}..65535)")
    return host.strip("[]"), int(port_text)


def is_loopback(host: str) -> bool:
    """True if nobody but this machine can reach the host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_local_target(target: str) -> bool:
    if target.startswith("unix:"):
        return True
    return is_loopback(target.partition(":///")[2].rpartition(":")[0] or target.rpartition(":")[0].strip("[]"))


def _read_start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(65536)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error


def settings_problems(error: ValidationError, model: type[BaseSettings], environ: Mapping[str, str]) -> list[str]:
    """One line per wrong value: the variable, its value (not of secrets), and the reason."""
    return [_problem(detail, model, environ) for detail in error.errors(include_url=False)]


def _problem(detail: ErrorDetails, model: type[BaseSettings], environ: Mapping[str, str]) -> str:
    location = [str(part) for part in detail["loc"]]
    context: dict[str, Any] = detail.get("ctx", {})
    cause = context.get("error")
    if not location and isinstance(cause, _Wrong):
        location = [cause.field]
    field = location[0].lower() if location else ""
    variable = variable_of(field, model)
    below = "".join(f"[{part}]" for part in location[1:])
    reason = str(cause) if isinstance(cause, ValueError) else detail["msg"]
    given = environ.get(variable)
    if given is None:
        return f"{variable}{below} (not set): {reason}"
    return f"{variable}{below}={'***' if _is_secret(field, model) else given}: {reason}"


def variable_of(field: str, model: type[BaseSettings] = ServiceSettings) -> str:
    """The environment variable of a field."""
    prefix = model.model_config.get("env_prefix", PREFIX) or ""
    return f"{prefix}{field}".upper()


def _is_secret(field: str, model: type[BaseSettings]) -> bool:
    information = model.model_fields.get(field)
    annotated = information is not None and "Secret" in str(information.annotation)
    # A database URL may hold a password.
    return annotated or field.endswith(("_url", "secret", "password", "token"))


def _misspelt(model: type[BaseSettings], environ: Mapping[str, str]) -> list[str]:
    known = [variable_of(field, model) for field in model.model_fields]
    lines = []
    for variable in environ:
        if variable.startswith(PREFIX) and variable not in known:
            close = get_close_matches(variable, known, n=1, cutoff=0.9)
            if close:
                lines.append(f"{variable}: not known, {close[0]} is meant?")
    return lines


def load_settings(model: type[Settings]) -> Settings:
    """The settings from the environment. Prints one line per wrong value to standard error and exits with 2."""
    try:
        settings = model()
    except ValidationError as error:
        _refuse(settings_problems(error, model, os.environ))
    except SettingsError as error:  # a value that is not even JSON where JSON is needed
        field = next((name for name in model.model_fields if f'"{name}"' in str(error)), "")
        _refuse([f"{variable_of(field, model)}: JSON is needed, {{...}}"])
    for line in _misspelt(model, os.environ):
        print(line, file=sys.stderr)
    return settings


def _refuse(lines: list[str]) -> NoReturn:
    for line in lines:
        print(line, file=sys.stderr)
    raise SystemExit(EXIT_BAD_SETTINGS)
