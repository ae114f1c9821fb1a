"""What device servers share: the town in motion, the log of writes, and which clock tells the real time."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from simulator.world import Indices, World
from simulator.writes import WriteLog


@dataclass
class Field:
    """The town as protocol servers see it."""

    world: World
    writes: WriteLog = field(default_factory=WriteLog)

    def log_lamps(
        self,
        *,
        peer: str,
        cabinet: str,
        endpoint: str,
        register: str,
        kind: str,
        values: Iterable[float],
        lamps: Indices,
        heard: int,
        result: str = "accepted",
    ) -> None:
        """Note a write that was meant for lamps."""
        self.writes.record(
            at_s=self.world.now,
            real_s=time.time(),
            peer=peer,
            cabinet=cabinet,
            endpoint=endpoint,
            register=register,
            kind=kind,
            values=tuple(values),
            feeders=tuple(self.world.feeders_of(lamps)),
            luminaires=int(lamps.size),
            heard=heard,
            result=result,
        )

    def log_cabinet(
        self,
        *,
        peer: str,
        cabinet: str,
        endpoint: str,
        register: str,
        kind: str,
        value: float,
        feeders: tuple[str, ...],
    ) -> None:
        """Note a write to a cabinet's controller."""
        self.writes.record(
            at_s=self.world.now,
            real_s=time.time(),
            peer=peer,
            cabinet=cabinet,
            endpoint=endpoint,
            register=register,
            kind=kind,
            values=(value,),
            feeders=feeders,
        )
