"""Metering's own settings, beside those of every service. Variables: LICHTBUCH_ and the name in capitals."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field, ValidationInfo, field_validator

from servicekit.settings import ServiceSettings
from services.metering.acquisition.polling import TOLERANCE_S
from services.metering.acquisition.spool import DEFAULT_MAX_BYTES
from services.metering.meter import Medium


class MeteringSettings(ServiceSettings):
    """What metering needs to know."""

    service: ClassVar[str] = "metering"

    max_message_bytes: int = Field(default=64 * 1024 * 1024, ge=1024, le=256 * 1024 * 1024)
    """Largest message that is taken: a million readings are about 20 MB."""
    spool_dir: Path | None = None
    """Where polled readings wait while the database is away; a disk that outlives the process. Default: in data_dir."""
    spool_max_bytes: int = Field(default=DEFAULT_MAX_BYTES, ge=65_536)
    """Largest spool. A full one thins to full hours before it drops anything."""
    poll_tolerance_s: float = Field(default=TOLERANCE_S, ge=1, le=720)
    """How late (domain time) a counter may be read and still stand for its quarter hour."""
    polling: bool = True
    """False leaves the field alone: for replicas that only answer."""

    validation_rules: Path | None = None
    """TOML file with parameters of the rules of validation that are other than the defaults; see docs/metering.md."""

    waste_rules: Path | None = None
    """TOML file with numbers of the waste watch that are other than the defaults; see docs/metering.md."""

    retention_months: dict[str, int] = Field(default_factory=dict)
    """How many local months before the present one readings are kept, by medium, as JSON: {"electricity": 36}. Media
    that are not named are kept for ever; days and months stay in any case."""

    rollup_media: list[str] | None = None
    """Media of whose meters sums of days and months are kept, as JSON: ["electricity", "gas"]; [] for none; all by
    default. Figures are the same without and take longer. A medium with a retention cannot do without."""

    field_security: Path | None = None
    """TOML file with certificates and logins of field devices (Modbus over TLS, OPC UA); see docs/operations.md."""
    field_machine: str = ""
    """Name by which addresses of serial lines know this machine. Default: its host name."""

    @field_validator("retention_months")
    @classmethod
    def _known_media(cls, months: dict[str, int]) -> dict[str, int]:
        for name, count in months.items():
            _check_medium(name)
            if not 1 <= count <= 1200:
                raise ValueError(f"{name}: {count} months are not between 1 and 1200")
        return months

    @field_validator("rollup_media")
    @classmethod
    def _known_rollup_media(cls, media: list[str] | None, info: ValidationInfo) -> list[str] | None:
        for name in media or ():
            _check_medium(name)
        if media is None:
            return None
        known = {name.upper() for name in media}
        for name in info.data.get("retention_months", {}):
            if name.upper() not in known:
                raise ValueError(
                    f"{name} is missing, whose readings LICHTBUCH_RETENTION_MONTHS gives up: days must stay"
                )
        return media

    @property
    def rolled_up(self) -> frozenset[Medium]:
        """Media of whose meters roll-ups are kept."""
        return frozenset(Medium if self.rollup_media is None else (Medium[name.upper()] for name in self.rollup_media))

    @property
    def retention(self) -> dict[Medium, int]:
        """Months that readings are kept, by medium."""
        return {Medium[name.upper()]: count for name, count in self.retention_months.items()}

    @property
    def own_dir(self) -> Path:
        """Where this service keeps its files."""
        return self.data_dir / "metering"

    @property
    def resolved_spool_dir(self) -> Path:
        """Where the spool lies."""
        return self.spool_dir or self.own_dir / "spool"


def _check_medium(name: str) -> None:
    if name.upper() not in Medium.__members__:
        raise ValueError(f"{name!r} is not a medium: {', '.join(one.name.lower() for one in Medium)}")
