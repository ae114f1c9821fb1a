"""Contractors and fitters: who is bound to some resources reaches those and no other."""

from collections.abc import AsyncIterator

import pytest

from domain.errors import NotPermitted
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.access import Binding, Role
from servicekit.clock import SystemClock
from tests.servicekit.conftest import Meters
from tests.support.meter_service import MeterServicer
from tests.support.running import BINDINGS, HERSFELD, access_from, running_service

HERE = "municipalities/bad-hersfeld"
MINE, THEIRS = f"{HERE}/meters/mine", f"{HERE}/meters/theirs"


@pytest.fixture
async def meters(issuer, database) -> AsyncIterator[Meters]:
    servicer = MeterServicer(database, SystemClock())  # type: ignore[abstract]  # a few methods are enough
    bindings = {
        **BINDINGS,
        "contractor": [Binding(Role.CONTRACTOR, HERSFELD.id, (MINE,))],
        "without-scope": [Binding(Role.CONTRACTOR, HERSFELD.id)],
    }
    async with running_service(issuer, servicer.add_to, database=database, access=access_from(bindings)) as running:
        made = Meters(running, servicer, database)
        for name in ("mine", "theirs"):
            meter = pb.Meter(medium=pb.MEDIUM_HEAT, unit=pb.UNIT_WH)
            await made.stub("planner").CreateMeter(pb.CreateMeterRequest(parent=HERE, meter_id=name, meter=meter))
        yield made


async def test_a_contractor_gets_its_own_and_no_other(meters):
    contractor = meters.stub("contractor")
    assert (await contractor.GetMeter(pb.GetMeterRequest(name=MINE))).name == MINE
    with pytest.raises(NotPermitted, match="outside of what the caller is bound to"):
        await contractor.GetMeter(pb.GetMeterRequest(name=THEIRS))


async def test_a_list_that_heeds_scopes_shows_the_own_only(meters):
    contractor = meters.stub("contractor")
    for parent in (HERE, "municipalities/-"):
        answer = await contractor.ListMeters(pb.ListMetersRequest(parent=parent))
        assert [meter.name for meter in answer.meters] == [MINE]


async def test_a_method_that_does_not_heed_scopes_is_closed(meters):
    stream = meters.stub("contractor").WatchReadings(pb.WatchReadingsRequest(parent=HERE))
    with pytest.raises(NotPermitted):
        await anext(stream)


async def test_a_contractor_without_measures_sees_nothing(meters):
    empty = meters.stub("without-scope")
    assert list((await empty.ListMeters(pb.ListMetersRequest(parent=HERE))).meters) == []
    with pytest.raises(NotPermitted):
        await empty.GetMeter(pb.GetMeterRequest(name=MINE))
