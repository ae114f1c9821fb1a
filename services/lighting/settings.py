"""What lighting needs to know beyond what every service does. `_s` is domain time, `_real_s` real time."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from servicekit.settings import ServiceSettings
from services.lighting.fault_kinds import FaultLimits
from services.lighting.following import FollowingLimits
from services.lighting.ground import Tuning


class LightingSettings(ServiceSettings):
    """Settings of lighting."""

    service: ClassVar[str] = "lighting"

    control: bool = True
    """False for a replica that only serves: it never holds the field."""
    lighting_dir: Path | None = None
    """Where the local snapshot, the spool and the lease are kept. Default: lighting/ in data_dir."""
    pass_interval_s: float = Field(default=10.0, ge=1, le=600)
    """Between two passes of the reconcile loop, and two readings of a device."""
    poll_real_s: float = Field(default=2.0, ge=0.1, le=3600)
    """Least time between two readings of a device that nothing is expected of: what a time-lapse is slowed down to."""
    stale_real_s: float = Field(default=30.0, ge=1, le=3600)
    """Nothing is written to a device that has not answered for so long."""
    settle_s: float = Field(default=5.0, ge=0, le=120)
    """How long a lamp may fade before its level is judged."""
    inrush_step_s: float = Field(default=0.5, ge=0, le=10)
    """Between two contactors that close; 0 for all at once."""
    inrush_slots: int = Field(default=20, ge=1, le=100)
    """So many cabinets follow each other before the order begins anew: it bounds the delay of the last one."""
    follow_limit: int = Field(default=3, ge=1, le=100)
    """Commands that a lamp does not follow until that is a dimming failure."""
    silence_limit: int = Field(default=3, ge=1, le=100)
    """Readings without an answer until that is a communication loss."""
    power_tolerance_percent: float = Field(default=25.0, ge=1, le=200)
    """How far the power of a lamp may be from what its model draws at the level it shows."""
    power_least_w: float = Field(default=5.0, ge=0, le=1000)
    """A smaller difference of power is no fault, whatever its share."""
    power_every_s: float = Field(default=300.0, ge=10, le=86400)
    """Between two readings of the power of some lamps of a gateway; connections that count bytes are left alone."""
    cycles_per_hour: int = Field(default=4, ge=1, le=100)
    """Times within an hour that a lamp may go dark by itself."""
    door_grace_s: float = Field(default=900.0, ge=0, le=86400)
    """How long a cabinet's door may be open before that is a fault."""
    relay_s: float = Field(default=30.0, ge=0, le=3600)
    """How long a contactor may take to follow its command."""
    silence_s: float = Field(default=120.0, ge=0, le=86400)
    """How long a device may be silent, beyond `silence_limit` readings, until that is a fault."""
    field_concurrency: int = Field(default=200, ge=1, le=2000)
    """Devices worked on at once."""
    spool_max_bytes: int = Field(default=64 * 1024 * 1024, ge=4096)
    """Bound of the file that keeps level changes while the database is away."""
    device_rest_real_s: float = Field(default=30.0, ge=0.5, le=600)
    """Longest rest of a device that does not answer; a time-lapse shortens it."""

    field_security: Path | None = None
    """TOML file with certificates and logins of field devices (Modbus over TLS, OPC UA); see docs/operations.md."""
    field_machine: str = ""
    """Name by which addresses of serial lines know this machine. Default: its host name."""

    @property
    def own_dir(self) -> Path:
        """Lighting's folder."""
        return self.lighting_dir or self.data_dir / "lighting"

    @property
    def tuning(self) -> Tuning:
        """How control is paced."""
        return Tuning(
            interval_s=self.pass_interval_s,
            poll_real_s=self.poll_real_s,
            stale_real_s=self.stale_real_s,
            settle_s=self.settle_s,
            inrush_step_s=self.inrush_step_s,
            inrush_slots=self.inrush_slots,
            concurrency=self.field_concurrency,
            following=FollowingLimits(misses=self.follow_limit, silences=self.silence_limit),
            faults=FaultLimits(
                power_tolerance=self.power_tolerance_percent / 100,
                power_least_w=self.power_least_w,
                power_every_s=self.power_every_s,
                cycles_per_hour=self.cycles_per_hour,
                door_grace_s=self.door_grace_s,
                relay_s=self.relay_s,
                silence_s=self.silence_s,
            ),
        )
