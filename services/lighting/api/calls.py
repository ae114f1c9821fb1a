"""What every group of lighting's methods works with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import grpc

from domain.plan import to_unix_ms
from servicekit.clock import Clock
from servicekit.database import Database
from services.lighting.control import Control
from services.lighting.endpoints import Endpoints
from services.lighting.historian import Historian
from services.lighting.memory import Memory
from services.lighting.sensor_keeper import SensorKeeper
from services.lighting.state import TownState
from services.lighting.writers import Writers

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

LARGEST_PAGE: Final = 10_000
"""As the contract says of page_size."""


@dataclass(frozen=True)
class Parts:
    """What the methods are given. `historian` is None in a process that never holds the field."""

    database: Database
    clock: Clock
    memory: Memory
    state: TownState
    control: Control
    endpoints: Endpoints
    historian: Historian | None
    sensors: SensorKeeper
    writers: Writers


class Calls:
    """A group of methods."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.database, self.clock = parts.database, parts.clock

    @property
    def now_ms(self) -> int:
        """Domain time in Unix ms."""
        return to_unix_ms(self.clock.now())
