"""What the simulated town can break, over real Modbus TCP and OPC UA: each stands once in the book, and goes again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from domain.level import PowerCurve
from services.lighting.records import FeederSupply, LuminaireRecord
from tests.services.lighting.test_simulated_town import Night

DALI = "intesis-dali"


@pytest.fixture
async def night() -> AsyncIterator[Night]:
    """A town whose lamps have been lit for an hour."""
    made = Night(luminaires=90)
    await made.start()
    models = {model.id: model for model in made.simulator.town.models}
    made.curves = {
        record.uid: PowerCurve(models[lamp.model].curve, models[lamp.model].rated_w, models[lamp.model].standby_w)
        for record, lamp in zip(made.inventory.luminaires, made.simulator.town.luminaires, strict=True)
    }
    await made.to(6)
    yield made
    await made.stop()


def lamps_of(night: Night, profile: str = DALI) -> list[LuminaireRecord]:
    """Luminaires on switched feeders behind gateways of a make, no conflict areas."""
    makes = {endpoint.uid: endpoint.profile for endpoint in night.inventory.endpoints}
    switched = {feeder.uid for feeder in night.inventory.feeders if feeder.supply == FeederSupply.SWITCHED}
    return [
        lamp
        for lamp in night.inventory.luminaires
        if makes[lamp.gateway_uid] == profile and lamp.feeder_uid in switched and not lamp.conflict_area
    ]


def feeder_of(night: Night, cabinet: int, least: int = 3) -> str:
    """A switched feeder of a cabinet with some luminaires on it."""
    inventory = night.inventory
    count = Counter(lamp.feeder_uid for lamp in inventory.luminaires)
    return next(
        feeder.uid
        for feeder in inventory.feeders
        if feeder.cabinet_uid == inventory.cabinets[cabinet].uid
        and feeder.supply == FeederSupply.SWITCHED
        and count[feeder.uid] >= least
    )


async def passes(night: Night, count: int, seconds: float = 30.0) -> None:
    for _ in range(count):
        await night.step(seconds)


async def breaks(night: Night, **fault: Any) -> None:
    night.simulator.catch_up()
    await night.simulator.faults.inject(fault)


async def mended(night: Night) -> None:
    night.simulator.catch_up()
    await night.simulator.faults.clear()


async def test_each_fault_of_a_lamp_stands_once_and_goes_by_itself(night: Night):
    await night.to(10.2)
    broken = lamps_of(night)
    kinds = {
        "lamp_failure": ("lamp_failure", {}),
        "gear_failure": ("gear_failure", {}),
        "power_too_high": ("power_off_curve", {"factor": 3.0}),
        "power_too_low": ("power_off_curve", {"factor": 0.1}),
        "cycling": ("cycling", {"period_s": 300.0}),
        "dimming_failure": ("not_following", {}),
    }
    expected = []
    for number, (raised, (kind, details)) in enumerate(kinds.items()):
        await breaks(night, kind=kind, luminaire=broken[number].id, **details)
        expected.append((raised, broken[number].id))
    await passes(night, 90)
    assert night.faults() == sorted(expected[:-1])
    await night.to(11)
    await passes(night, 16)
    assert night.faults() == sorted(expected)
    await mended(night)
    await night.to(14, step_s=240)
    assert night.faults() == []
    names = {lamp.uid: lamp.id for lamp in night.inventory.luminaires}
    ended = [(entry.kind.name.lower(), names[entry.subject_uid]) for entry in night.book.waiting(100)]
    assert sorted(ended) == sorted(expected), "each was raised once"


async def test_each_fault_of_a_cabinet_is_one_and_its_lamps_have_none(night: Night):
    cabinets = [cabinet.uid for cabinet in night.inventory.cabinets]
    gateway = next(gateway for gateway in night.inventory.gateways if gateway.cabinet_uid == cabinets[3])
    tripped, stuck = feeder_of(night, 0), feeder_of(night, 1)
    await breaks(night, kind="breaker_tripped", feeder=tripped)
    await breaks(night, kind="contactor_stuck_open", feeder=stuck)
    await breaks(night, kind="door_open", cabinet=cabinets[2])
    await breaks(night, kind="dead_gateway", endpoint=gateway.uid)
    await breaks(night, kind="supply_loss", cabinet=cabinets[4])
    await breaks(night, kind="supply_loss", cabinet=cabinets[5], mode="buffered")
    await passes(night, 12, 60)
    assert not any(kind == "door_open" for kind, _ in night.faults())  # somebody may be at work there
    await passes(night, 8, 60)
    assert night.faults() == sorted([
        ("supply_loss", tripped),
        ("relay_failure", stuck),
        ("door_open", cabinets[2]),
        ("communication_loss", gateway.uid),
        ("communication_loss", cabinets[4]),
        ("supply_loss", cabinets[5]),
    ])  # fmt: skip
    await mended(night)
    for _ in range(40):
        await passes(night, 2, 60)
        if not night.faults():
            break
        await asyncio.sleep(0.1)  # the field layer rests for real seconds before it asks again
    assert night.faults() == []
    assert len(night.book.waiting(100)) == 6, "each was raised once"


async def test_by_day_welded_contactors_and_burning_lamps_are_told_and_hand_is_none(night: Night):
    permanent = {feeder.uid for feeder in night.inventory.feeders if feeder.supply == FeederSupply.PERMANENT}
    burner = next(lamp for lamp in night.inventory.luminaires if lamp.feeder_uid in permanent)
    welded = feeder_of(night, 1)
    await breaks(night, kind="day_burner", luminaire=burner.id)
    await breaks(night, kind="contactor_welded", feeder=welded)
    await breaks(night, kind="hand_switch", cabinet=night.inventory.cabinets[2].uid, position="hand")
    await night.to(20)
    await passes(night, 16)
    by_day = [fault for fault in night.faults() if fault[0] != "dimming_failure"]
    assert by_day == sorted([("day_burner", burner.id), ("relay_failure", welded)])
    await mended(night)
    await passes(night, 20)
    assert not {"day_burner", "relay_failure"} & {kind for kind, _ in night.faults()}


async def test_a_day_with_dead_feeders_and_the_evening_after_have_no_faults(night: Night):
    await night.to(28)
    await night.to(30.5)
    assert night.faults() == []
    assert len(night.book) == 0
