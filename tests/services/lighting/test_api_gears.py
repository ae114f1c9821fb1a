"""Swapped drivers as people see, record, confirm and reject them, over real gRPC and both databases."""

import asyncio
from typing import Any

import pytest

from domain.errors import FailedPrecondition, InvalidInput, NotFound, NotPermitted
from lichtbuch.lighting.v1 import commissioning_pb2 as com
from lichtbuch.lighting.v1 import faults_pb2 as flt
from lichtbuch.lighting.v1 import gears_pb2 as pb
from servicekit.access import Caller
from servicekit.context import acting_as
from services.lighting import commissioning, gear_keeper
from services.lighting.commissioning import Protector
from services.lighting.fault_book import FaultBook
from services.lighting.fault_clerk import FaultClerk
from services.lighting.gear_board import GearBoard
from services.lighting.gear_keeper import GearKeeper
from tests.services.lighting.running import FITTER, Lighting, T, at

LAMP = f"{T}/luminaires/L-1-1"
HOUR_S = 3600
STATE = pb.GearLifeState


@pytest.fixture(autouse=True)
def resting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service's own looks at drivers and at settings that are asked for: what has a book of faults of its own, and
    may have the gateway's turn, does not come between those of the test."""
    for module in (gear_keeper, commissioning):
        monkeypatch.setattr(module, "TURN_EVERY_S", 3600.0)


class Drivers:
    """The drivers of a street, looked at when a test wants it."""

    def __init__(self, light: Lighting) -> None:
        self.light = light
        parts = light.parts
        self.book = FaultBook()
        self.keeper = GearKeeper(
            parts.database, parts.control, parts.clock, GearBoard(), self.book,
            inventory=lambda: parts.memory.known.inventory, least_real_s=0.0,
        )  # fmt: skip
        self.clerk = FaultClerk(
            parts.database, self.book, parts.clock, holds=lambda: True, inventory_revision=lambda: 1
        )
        self.protector = Protector(parts.database, parts.control, parts.clock)

    async def start(self) -> None:
        """By night, every driver known."""
        await self.light.street()
        await self.light.known()
        for number in range(4):
            self.light.town.lamp(1, number).burning_s = 5000.0 * HOUR_S
        await self.light.to(8)
        await self.round(0)

    async def round(self, seconds: float = 3700.0) -> None:
        """Time goes on, lamps burn, and drivers are looked at; a gateway that is busy just then is asked again."""
        await self.light.passes(1, seconds)
        for number in range(4):
            self.light.town.lamp(1, number).burning_s += seconds
        await self.light.passes(2, 20.0)
        with acting_as(Caller.of_service("lighting")):
            for _ in range(3):
                await self.keeper.turn()
                await asyncio.sleep(0.01)
            await self.clerk.turn()

    async def listed(self, subject: str = "viewer", **filters: Any) -> dict[str, pb.LuminaireGear]:
        """Drivers by luminaire."""
        request = pb.ListLuminaireGearsRequest(parent=T, page_size=2, **filters)
        found: dict[str, pb.LuminaireGear] = {}
        while True:
            answer = await self.light.as_(subject).ListLuminaireGears(request)
            found |= {one.luminaire.rsplit("/", 1)[-1]: one for one in answer.gears}
            if not answer.next_page_token:
                return found
            request.page_token = answer.next_page_token

    async def faults(self) -> list[str]:
        """Luminaires with a swap that stands in the book."""
        request = flt.ListFaultsRequest(parent=T, open_only=True, kinds=[flt.FAULT_KIND_GEAR_SWAPPED])
        return [one.subject for one in (await self.light.operator.ListFaults(request)).faults]


def decision(swapped: bool, reason: str = "I was there", **changes: Any) -> pb.DecideGearSwapRequest:
    return pb.DecideGearSwapRequest(name=LAMP, swapped=swapped, reason=reason, **changes)


def swap(reason: str = "storm", name: str = LAMP, **changes: Any) -> pb.RecordGearSwapRequest:
    return pb.RecordGearSwapRequest(name=name, reason=reason, **changes)


async def test_a_detected_swap_is_listed_stands_as_a_fault_and_is_confirmed_by_a_fitter(lighting: Lighting):
    drivers = Drivers(lighting)
    await drivers.start()
    gateway = f"{T}/gateways/G-1"
    await lighting.planner.ProtectLuminaires(
        com.ProtectLuminairesRequest(parent=T, gateways=[gateway], communication_loss_permille=300)
    )
    await lighting.passes(2, 400.0)
    await drivers.protector.turn()
    lamp = lighting.town.lamp(1, 1)
    lamp.burning_s, lamp.communication_loss = 60.0, 1000
    for _ in range(3):
        await drivers.round()
    assert list(await drivers.listed(swapped_only=True)) == ["L-1-1"]
    one = (await drivers.listed(luminaire=LAMP))["L-1-1"]
    assert [life.state for life in one.lives] == [STATE.GEAR_LIFE_STATE_FIRST, STATE.GEAR_LIFE_STATE_DETECTED]
    assert list(one.lives[1].signs) == [pb.GEAR_SIGN_HOURS_FELL, pb.GEAR_SIGN_SETTINGS_LOST]
    assert one.burning_s >= 5000 * HOUR_S
    assert one.gear_burning_s < 4 * HOUR_S
    assert await drivers.faults() == [LAMP]
    await drivers.protector.turn()
    assert lamp.communication_loss == 300, "its settings are back"

    answer = await lighting.as_(FITTER).DecideGearSwap(decision(True, serial="4711"))
    assert (answer.lives[1].state, answer.lives[1].serial) == (STATE.GEAR_LIFE_STATE_CONFIRMED, "4711")
    assert (answer.lives[1].author, answer.lives[1].reason) == (FITTER, "I was there")
    assert await drivers.listed(undecided_only=True) == {}
    await drivers.round()
    assert await drivers.faults() == []
    trail = await lighting.trail(LAMP)
    assert (trail[0].actor, trail[0].reason) == (FITTER, "I was there")
    assert "decide" in trail[0].action.lower()
    with pytest.raises(FailedPrecondition):
        await lighting.as_(FITTER).DecideGearSwap(decision(False))


async def test_a_rejected_swap_counts_for_the_driver_before(light: Lighting):
    drivers = Drivers(light)
    await drivers.start()
    light.town.lamp(1, 1).burning_s = 60.0
    for _ in range(3):
        await drivers.round()
    before = (await drivers.listed(undecided_only=True))["L-1-1"]
    answer = await light.operator.DecideGearSwap(decision(False))
    assert answer.lives[1].state == STATE.GEAR_LIFE_STATE_REJECTED
    assert not answer.lives[1].HasField("burning_s")
    assert answer.burning_s == before.burning_s
    assert answer.gear_burning_s == answer.burning_s


async def test_a_person_records_a_swap_once_and_what_is_read_later_is_that_driver(light: Lighting):
    drivers = Drivers(light)
    await drivers.start()
    request = swap(serial="DRV-1", first_counter_s=0, request_id="r1")
    answer = await light.as_(FITTER).RecordGearSwap(request)
    again = await light.as_(FITTER).RecordGearSwap(request)
    assert again == answer
    assert [life.state for life in answer.lives] == [STATE.GEAR_LIFE_STATE_FIRST, STATE.GEAR_LIFE_STATE_RECORDED]
    assert answer.lives[1].serial == "DRV-1"
    light_s = answer.burning_s
    light.town.lamp(1, 1).burning_s = 0.0
    for _ in range(3):
        await drivers.round()
    one = (await drivers.listed(luminaire=LAMP))["L-1-1"]
    assert len(one.lives) == 2
    assert one.lives[1].first_counter_s == 0
    assert light_s < one.burning_s < light_s + 4 * HOUR_S
    assert await drivers.faults() == []


async def test_a_swap_is_recorded_where_nothing_can_be_read_at_all(light: Lighting):
    await light.street()
    await light.import_lines(luminaire_ids=["L-9"], floors_permille=[400])
    answer = await light.operator.RecordGearSwap(swap(name=f"{T}/luminaires/L-9", serial="X"))
    assert [life.number for life in answer.lives] == [1, 2]
    assert not answer.HasField("burning_s")
    assert not answer.HasField("gear_burning_s")


async def test_who_may_and_what_is_refused(light: Lighting):
    await light.street(1)
    await light.street(2)
    await light.known()
    other = f"{T}/luminaires/L-2-0"
    for caller, request in (("viewer", swap()), (FITTER, swap(name=other))):
        with pytest.raises(NotPermitted):
            await light.as_(caller).RecordGearSwap(request)
    await light.operator.RecordGearSwap(swap(name=other))
    assert list(await Drivers(light).listed(FITTER)) == []
    assert list(await Drivers(light).listed()) == ["L-2-0"]
    assert await Drivers(light).listed(luminaire=LAMP) == {}
    with pytest.raises(NotPermitted):
        await light.as_("viewer").DecideGearSwap(decision(True))
    with pytest.raises(NotFound):
        await light.operator.RecordGearSwap(swap(name=f"{T}/luminaires/none"))
    with pytest.raises(FailedPrecondition, match="no swap"):
        await light.operator.DecideGearSwap(decision(True))
    for bad, field in (
        (swap(reason=""), "reason"),
        (swap(installed_at=at(900)), "installed_at"),
        (swap(first_counter_s=-1), "first_counter_s"),
        (swap(name=other, installed_at=at(-900)), "installed_at"),
    ):
        with pytest.raises(InvalidInput) as caught:
            await light.operator.RecordGearSwap(bad)
        assert field in str(caught.value)
