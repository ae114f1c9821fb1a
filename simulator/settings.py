"""Settings of the simulator: from the command line, else from the environment (prefix LICHTBUCH_), else defaults.

A wrong value is printed, one line each, and ends the program with exit code 2.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AwareDatetime, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from domain.errors import InvalidInput
from domain.timelapse import MAX_SPEED, TimeLapse
from simulator.clock import Clock, RunningClock, SteppedClock

PREFIX = "LICHTBUCH_"
OWN = "simulator_"


class SimulatorSettings(BaseSettings):
    """All settings. Ports of 0 are chosen by the system; device ports count up from their first."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    clock_start: AwareDatetime | None = None
    clock_anchor: AwareDatetime | None = None
    clock_speed: float = Field(default=1.0, gt=0, le=MAX_SPEED)
    simulator_stepped: bool = False
    simulator_port: int = Field(default=7120, ge=0, le=65535)
    simulator_modbus_port: int = Field(default=15000, ge=0, le=64000)
    simulator_opcua_port: int = Field(default=14840, ge=0, le=65000)
    simulator_luminaires: int = Field(default=5_300, ge=1)
    simulator_cabinets: int = Field(default=100, ge=1)
    simulator_monitored: int = Field(default=22, ge=0)
    simulator_buildings: int = Field(default=3, ge=0, le=3)
    simulator_seed: int = 1
    simulator_town: Path | None = None
    simulator_inventory: Path | None = None
    simulator_time_zone: str = "Europe/Berlin"
    simulator_consumption: dict[str, Path] = Field(default_factory=dict)

    @field_validator("simulator_time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"{name!r} is no time zone") from error
        return name

    @model_validator(mode="after")
    def _one_town(self) -> SimulatorSettings:
        if self.simulator_town is not None and self.simulator_inventory is not None:
            raise ValueError("--town and --inventory are two towns: give one of them")
        return self

    def clock(self) -> Clock:
        """The clock these settings describe; without start and anchor both are now."""
        now = datetime.now(UTC)
        anchor = self.clock_anchor or now
        start = self.clock_start or anchor
        if self.simulator_stepped:
            return SteppedClock(start.timestamp())
        return RunningClock(TimeLapse(start, anchor, self.clock_speed))


def parser() -> argparse.ArgumentParser:
    """The command line; what is not given there is taken from the environment."""
    p = argparse.ArgumentParser(
        prog="python -m simulator", description="A synthetic town of field devices on loopback."
    )
    p.add_argument("--luminaires", help="number of luminaires of the generated town (5300)")
    p.add_argument("--cabinets", help="number of cabinets (100)")
    p.add_argument("--monitored", help="number of cabinets with a meter (22, of an inventory 22 %%)")
    p.add_argument("--buildings", help="number of municipal buildings, 0 to 3 (3, with an inventory 0)")
    p.add_argument("--seed", help="another seed gives another town (1)")
    p.add_argument("--town", help="JSON file with a town instead of the generated one, as answered by GET /town")
    p.add_argument(
        "--inventory", metavar="FILE",
        help="a town around the lamps of a CSV file, as `lichtbuch import luminaires --offline --to FILE` writes it",
    )  # fmt: skip
    p.add_argument("--time-zone", help="time zone of the town of an inventory (Europe/Berlin)")
    p.add_argument(
        "--consumption", action="append", metavar="BUILDING=FILE",
        help="real hourly consumption of a building: CSV with datetime_utc and electricity in kWh",
    )  # fmt: skip
    p.add_argument("--port", help="port of the HTTP control interface (7120)")
    p.add_argument("--modbus-port", help="first Modbus TCP port (15000), 0 for any free ones")
    p.add_argument("--opcua-port", help="first OPC UA port (14840), 0 for any free ones")
    p.add_argument("--stepped", action="store_true", default=None, help="time stands still but for POST /clock/advance")
    p.add_argument("--write-csv", metavar="FILE", help="write the town's luminaire inventory as CSV and end")
    return p


def load(arguments: argparse.Namespace) -> SimulatorSettings:
    """Settings from parsed arguments and the environment; prints what is wrong and exits with 2."""
    given: dict[str, Any] = {
        OWN + name: value
        for name, value in vars(arguments).items()
        if value is not None and OWN + name in SimulatorSettings.model_fields
    }
    try:
        if arguments.consumption is not None:
            given[OWN + "consumption"] = _pairs(arguments.consumption)
        return SimulatorSettings(**given)
    except ValidationError as error:
        for problem in error.errors():
            name = "_".join(str(part) for part in problem["loc"])
            print(f"{PREFIX}{name.upper()}: {problem['msg']}", file=sys.stderr)
        raise SystemExit(2) from error
    except InvalidInput as error:
        print(error.message, file=sys.stderr)
        raise SystemExit(2) from error


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    pairs = dict(text.partition("=")[::2] for text in texts)
    if not all(pairs.values()):
        raise InvalidInput.of("--consumption", "must be BUILDING=FILE")
    return pairs
