"""The simulated town of the all-on benchmark: a process with real Modbus TCP, and how lighting knows the same town.

Gateways are those of the demonstration town but its OPC UA one: pymodbus has to reach all of them. Every feeder is
permanent: all-on from dark with contactors is spread against inrush, which is another matter than being fast.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from domain.level import dali_arc_to_permille
from services.lighting.records import (
    CabinetRecord,
    EndpointRecord,
    EndpointState,
    FeederRecord,
    FeederSupply,
    GatewayRecord,
    GroupRecord,
    Inventory,
    LuminaireRecord,
    TownRecord,
)
from simulator.demo import DemoSize, demo_town
from simulator.town import PERMANENT, Town, town_from_json, town_to_json

TOWN_UID: Final = "t1"
_ARLIGHT = "arlight-dali"
_OTHERS = ("opcua-lamp", "generic-level-status")
"""Of these makes there is one gateway each: the peer speaks two register maps."""


@dataclass(frozen=True)
class RunningTown:
    """A simulated town that runs, with the URLs of its devices."""

    town: Town
    control_url: str

    def lit(self) -> np.ndarray:
        """What light every lamp really gives now, in per mille, in the order of the town."""
        found = self._get("/truth/luminaires")
        level = {row["id"]: row["level_permille"] for row in found["luminaires"]}
        return np.array([level[lamp.id] for lamp in self.town.luminaires])

    def writes(self) -> int:
        """How many writes the gateways have had so far."""
        return sum(row["count"] for row in self._get("/writes?limit=1")["counts"] if row["kind"] == "level")

    def _get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(self.control_url + path, timeout=60) as answer:
            return json.loads(answer.read())  # type: ignore[no-any-return]


@contextmanager
def running(luminaires: int, gateways: int) -> Iterator[RunningTown]:
    """The town in a process of its own, until the end of the block."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "town.json"
        path.write_text(json.dumps(town_to_json(_town(luminaires, gateways))), encoding="utf-8")
        command = [sys.executable, "-m", "simulator", "--town", str(path), "--port", "0", "--modbus-port", "0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
        try:
            assert process.stdout is not None
            ready = re.search(r"control (http\S+)", process.stdout.readline())
            if ready is None:
                raise RuntimeError("the simulator did not start")
            with urllib.request.urlopen(f"{ready[1]}/town", timeout=60) as answer:
                yield RunningTown(town_from_json(json.loads(answer.read())), ready[1])
        finally:
            process.terminate()
            process.wait(10)


def inventory_of(town: Town) -> Inventory:
    """The town as lighting knows it: all of it released into control, in one group."""
    return Inventory(
        revision=1,
        towns=(TownRecord(TOWN_UID, "town", town.latitude, town.longitude),),
        cabinets=tuple(
            CabinetRecord(c.id, TOWN_UID, c.id, c.controller, latitude_deg=c.latitude, longitude_deg=c.longitude)
            for c in town.cabinets
        ),
        feeders=tuple(
            FeederRecord(f.id, TOWN_UID, f.id, f.cabinet, 0, FeederSupply.PERMANENT) for f in town.feeders
        ),
        gateways=tuple(GatewayRecord(c.gateway, TOWN_UID, c.gateway, c.id, c.gateway) for c in town.cabinets),
        groups=(GroupRecord("g1", TOWN_UID, "default"),),
        luminaires=tuple(
            LuminaireRecord(
                lamp.id, TOWN_UID, lamp.id, "g1", lamp.feeder, lamp.gateway, lamp.line * 64 + lamp.gear,
                lamp.floor_permille, lamp.crossing,
            )
            for lamp in town.luminaires
        ),
        endpoints=tuple(
            EndpointRecord(e.id, TOWN_UID, e.id, e.url, e.profile, EndpointState.IN_CONTROL)
            for e in town.endpoints if e.owner == "lighting" and e.cabinet
        ),
    )  # fmt: skip


def level_registers(town: Town) -> Mapping[str, tuple[str, list[int], int]]:
    """By gateway: its URL, the level register of each of its lamps, and what stands for full light there.

    Registers as in the products' documents, see simulator/modbus/."""
    endpoints = {e.id: e for e in town.endpoints}
    found: dict[str, tuple[str, list[int], int]] = {}
    for lamp in town.luminaires:
        endpoint = endpoints[lamp.gateway]
        arlight = endpoint.profile == _ARLIGHT
        register = 256 + lamp.gear if arlight else 7000 * lamp.line + 100 * lamp.gear + 15
        found.setdefault(lamp.gateway, (endpoint.url, [], 254 if arlight else 100))[1].append(register)
    assert dali_arc_to_permille(254) == 1000
    return found


def _town(luminaires: int, gateways: int) -> Town:
    town = demo_town(DemoSize(luminaires=luminaires, cabinets=gateways, monitored=0, buildings=0))
    endpoints = tuple(replace(e, profile=_ARLIGHT) if e.profile in _OTHERS else e for e in town.endpoints)
    return replace(
        town,
        endpoints=endpoints,
        feeders=tuple(replace(feeder, supply=PERMANENT, channel=-1) for feeder in town.feeders),
    )
