"""The way of a call through the gate: permission, tenant, validation, errors, deadlines, limits."""

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from sqlmodel import select

from domain.errors import (
    Exhausted,
    InvalidInput,
    LichtbuchError,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    PermanentError,
    TimedOut,
    Unavailable,
)
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.audit import AuditRecord
from tests.support.waiting import eventually

HERE, THERE = "municipalities/bad-hersfeld", "municipalities/schwalmstadt"


def a_meter(**fields) -> pb.Meter:
    return pb.Meter(medium=pb.MEDIUM_ELECTRICITY, unit=pb.UNIT_WH, **fields)


def fields_of(error: InvalidInput) -> set[str]:
    return {violation.field for violation in error.violations}


async def test_a_planner_creates_a_meter_and_a_viewer_sees_it(meters):
    created = await meters.stub("planner").CreateMeter(
        pb.CreateMeterRequest(parent=HERE, meter_id="town-hall", meter=a_meter(display_name="Rathaus"))
    )
    seen = await meters.stub("viewer").GetMeter(pb.GetMeterRequest(name=f"{HERE}/meters/town-hall"))
    assert created.uid == seen.uid
    assert seen.display_name == "Rathaus"


async def test_a_viewer_may_not_create(meters):
    with pytest.raises(NotPermitted, match=r"metering\.meters\.create in municipalities/bad-hersfeld"):
        await meters.stub("viewer").CreateMeter(pb.CreateMeterRequest(parent=HERE, meter=a_meter()))
    assert meters.servicer.created == 0


async def test_somebody_without_a_role_learns_nothing(meters):
    with pytest.raises(NotPermitted):
        await meters.stub("stranger").GetMeter(pb.GetMeterRequest(name=f"{HERE}/meters/x"))
    with pytest.raises(NotPermitted):
        await meters.stub("viewer").GetMeter(pb.GetMeterRequest(name="municipalities/nowhere/meters/x"))


async def test_without_a_token_nothing_is_answered(meters):
    with pytest.raises(NotAuthenticated, match="bearer token"):
        await meters.stub(None).GetMeter(pb.GetMeterRequest(name=f"{HERE}/meters/x"))


async def test_a_role_in_one_town_holds_nothing_in_the_next(meters):
    with pytest.raises(NotPermitted):
        await meters.stub("viewer").GetMeter(pb.GetMeterRequest(name=f"{THERE}/meters/x"))


async def test_a_municipality_that_is_not_there_is_not_found_by_who_may_see_all(meters):
    with pytest.raises(NotFound, match="municipalities/nowhere"):
        await meters.stub("admin").GetMeter(pb.GetMeterRequest(name="municipalities/nowhere/meters/x"))


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.CreateMeterRequest(parent=HERE, meter=a_meter(cabinet=f"{THERE}/cabinets/c1")), "meter.cabinet"),
        (pb.CreateMeterRequest(parent=HERE, meter=a_meter(endpoint=f"{THERE}/endpoints/e1")), "meter.endpoint"),
        (pb.CreateMeterRequest(parent=HERE, meter=a_meter(name=f"{THERE}/meters/m")), "meter.name"),
    ],
)
async def test_a_reference_into_another_town_is_refused_by_name(meters, request_, field):
    # "both" may write here and read there: the reference is still not of the town that the request is about.
    with pytest.raises(InvalidInput, match="not of the municipality") as caught:
        await meters.stub("both").CreateMeter(request_)
    assert [violation.field for violation in caught.value.violations] == [field]
    assert meters.servicer.created == 0


async def test_one_foreign_meter_among_many_is_found(meters):
    names = [f"{HERE}/meters/m{index}" for index in range(500)]
    names[321] = f"{THERE}/meters/m321"
    columns = pb.ReadingColumns(meters=names, meter_indexes=[0], slots_unix_ms=[0], values=[1])
    with pytest.raises(InvalidInput) as caught:
        await meters.stub().IngestReadings(pb.IngestReadingsRequest(parent=HERE, readings=columns, source="hand"))
    assert [violation.field for violation in caught.value.violations] == ["readings.meters[321]"]


async def test_an_update_is_about_the_town_of_the_resource_in_it(meters):
    meter = a_meter(name=f"{HERE}/meters/m", cabinet=f"{THERE}/cabinets/c")
    with pytest.raises(InvalidInput) as caught:
        await meters.stub().UpdateMeter(pb.UpdateMeterRequest(meter=meter))
    assert [violation.field for violation in caught.value.violations] == ["meter.cabinet"]
    with pytest.raises(NotPermitted):
        await meters.stub("planner").UpdateMeter(pb.UpdateMeterRequest(meter=a_meter(name=f"{THERE}/meters/m")))
    with pytest.raises(InvalidInput, match=r"meter\.name"):
        await meters.stub().UpdateMeter(pb.UpdateMeterRequest(meter=a_meter()))


async def test_an_update_is_judged_by_what_its_mask_takes(meters):
    meter = pb.Meter(name=f"{HERE}/meters/m", display_name="new", rollover=-1)
    masked = pb.UpdateMeterRequest(meter=meter, update_mask=FieldMask(paths=["display_name"]))
    assert (await meters.stub().UpdateMeter(masked)).display_name == "new"
    with pytest.raises(InvalidInput) as caught:
        await meters.stub().UpdateMeter(pb.UpdateMeterRequest(meter=meter))
    assert {violation.field for violation in caught.value.violations} == {
        "meter.medium",
        "meter.unit",
        "meter.rollover",
    }


async def test_every_wrong_field_is_named_at_once(meters):
    meter = pb.Meter(display_name="x" * 201, rollover=-1, transformer_ratio=200_000)
    with pytest.raises(InvalidInput) as caught:
        await meters.stub().CreateMeter(pb.CreateMeterRequest(parent=HERE, meter_id="*", meter=meter))
    assert fields_of(caught.value) == {
        "meter_id",
        "meter.display_name",
        "meter.medium",
        "meter.unit",
        "meter.rollover",
        "meter.transformer_ratio",
    }


async def test_malformed_names_are_refused(meters):
    for name in (
        "",
        "meters/m",
        f"{HERE}/meters",
        f"{HERE}/cabinets/c",
        f"{HERE}/meters/a b",
        "municipalities/-/meters/m",
    ):
        with pytest.raises(InvalidInput, match="name"):
            await meters.stub("admin").GetMeter(pb.GetMeterRequest(name=name))


async def test_the_dash_lists_across_all_that_the_caller_may_see(meters):
    for town, who in ((HERE, "planner"), (THERE, "admin")):
        await meters.stub(who).CreateMeter(pb.CreateMeterRequest(parent=town, meter_id="m", meter=a_meter()))
    everywhere = pb.ListMetersRequest(parent="municipalities/-")
    assert len((await meters.stub("both").ListMeters(everywhere)).meters) == 2
    assert [m.name for m in (await meters.stub("viewer").ListMeters(everywhere)).meters] == [f"{HERE}/meters/m"]
    with pytest.raises(NotPermitted):
        await meters.stub("stranger").ListMeters(everywhere)


async def test_the_dash_is_refused_where_the_contract_does_not_allow_it(meters):
    with pytest.raises(InvalidInput, match="parent"):
        await meters.stub("admin").CreateMeter(pb.CreateMeterRequest(parent="municipalities/-", meter=a_meter()))


async def test_the_same_request_id_makes_one_meter(meters):
    request = pb.CreateMeterRequest(parent=HERE, meter_id="m", meter=a_meter(), request_id="r1")
    first = await meters.stub().CreateMeter(request)
    assert await meters.stub().CreateMeter(request) == first
    assert meters.servicer.created == 1
    with pytest.raises(InvalidInput, match="request_id"):
        await meters.stub().CreateMeter(
            pb.CreateMeterRequest(parent=HERE, meter_id="other", meter=a_meter(), request_id="r1")
        )


async def test_errors_of_the_domain_arrive_as_what_they_are(meters):
    for error in (
        Unavailable("the bus is away", 0.01),
        Exhausted("the queue is full", 0.01),
        NotFound(f"{HERE}/meters/x", "gone"),
        InvalidInput.of("name", "is odd"),
    ):
        meters.servicer.failing = error
        with pytest.raises(type(error)) as caught:
            await meters.stub("viewer").GetMeter(pb.GetMeterRequest(name=f"{HERE}/meters/x"))
        assert type(caught.value) is type(error)
        assert caught.value.message == error.message
        assert getattr(caught.value, "violations", None) == getattr(error, "violations", None)


async def test_what_is_unexpected_is_told_without_its_inside(meters):
    meters.servicer.failing = ValueError("a detail of ours")
    with pytest.raises(LichtbuchError) as caught:
        await meters.stub("viewer").GetMeter(pb.GetMeterRequest(name=f"{HERE}/meters/x"))
    assert "a detail" not in caught.value.message
    assert "request id" in caught.value.message


async def test_every_answer_tells_its_request_id(meters):
    channel: Any = grpc.aio.insecure_channel(meters.running.target)
    call = channel.unary_unary("/lichtbuch.metering.v1.MeteringService/GetMeter")(
        pb.GetMeterRequest(name=f"{HERE}/meters/x").SerializeToString(),
        metadata=(("authorization", f"Bearer {meters.running.issuer.token('viewer')}"), ("x-request-id", "mine-1")),
    )
    assert await call.code() == grpc.StatusCode.NOT_FOUND
    assert dict(await call.trailing_metadata())["x-request-id"] == "mine-1"
    await channel.close()


async def test_bytes_that_are_no_message_are_bad_input(meters):
    channel: Any = grpc.aio.insecure_channel(meters.running.target)
    call = channel.unary_unary("/lichtbuch.metering.v1.MeteringService/GetMeter")(
        b"\xff\xff\xff", metadata=(("authorization", f"Bearer {meters.running.issuer.token('viewer')}"),)
    )
    assert await call.code() == grpc.StatusCode.INVALID_ARGUMENT
    await channel.close()


async def test_a_deadline_of_a_millisecond_ends_without_a_trace(meters):
    meters.servicer.pause.clear()
    with pytest.raises(TimedOut):
        await meters.stub().CreateMeter(
            pb.CreateMeterRequest(parent=HERE, meter_id="late", meter=a_meter()), timeout=0.001
        )
    if meters.servicer.started.is_set():
        async with asyncio.timeout(30):
            await meters.servicer.cut_short.wait()
    meters.servicer.pause.set()
    assert (await meters.stub("viewer").ListMeters(pb.ListMetersRequest(parent=HERE))).meters == []
    assert await meters.database.read(lambda session: session.exec(select(AuditRecord)).all()) == []


async def test_a_call_that_outlives_its_deadline_is_undone(meters):
    meters.servicer.pause.clear()
    stub, request = meters.stub(), pb.CreateMeterRequest(parent=HERE, meter_id="late", meter=a_meter())
    for patience_s in (0.3, 3.0, 30.0):  # on a busy machine the shorter ones are over before it has begun
        with pytest.raises(TimedOut):
            await stub.CreateMeter(request, timeout=patience_s)
        if meters.servicer.started.is_set():
            break
    assert meters.servicer.started.is_set()
    # The caller has its answer a moment before the service hears of the end.
    async with asyncio.timeout(30):
        await meters.servicer.cut_short.wait()
    meters.servicer.pause.set()
    assert (await meters.stub("viewer").ListMeters(pb.ListMetersRequest(parent=HERE))).meters == []


async def test_a_message_of_fifty_megabytes_is_refused_and_the_service_goes_on(meters):
    columns = pb.ReadingColumns(slots_unix_ms=[1 << 60] * 5_500_000)
    request = pb.IngestReadingsRequest(parent=HERE, readings=columns, source="hand")
    assert request.ByteSize() > 48_000_000
    with pytest.raises(Exhausted, match="larger than max"):
        await meters.stub().IngestReadings(request)
    assert (await meters.stub("viewer").ListMeters(pb.ListMetersRequest(parent=HERE))).meters == []


async def test_a_stream_ends_with_its_error(meters):
    meters.servicer.failing = Unavailable("the bus is away", 3)
    received = []
    with pytest.raises(Unavailable, match="the bus is away"):
        async for answer in meters.stub("viewer").WatchReadings(pb.WatchReadingsRequest(parent=HERE)):
            received.append(answer)
    assert len(received) == 1


async def test_a_reader_ends_its_stream(meters):
    async with meters.stub("viewer").WatchReadings(pb.WatchReadingsRequest(parent=HERE)) as stream:
        async for _ in stream:
            break
        assert meters.running.server._gate.open_streams == 1
    await eventually(lambda: meters.running.server._gate.open_streams == 0)


async def test_an_instant_beyond_the_calendar_is_bad_input(meters):
    request = pb.QueryConsumptionRequest(
        parent=HERE,
        meters=[f"{HERE}/meters/m"],
        start_time=Timestamp(seconds=10**15),
        end_time=Timestamp(seconds=1),
        step=pb.STEP_TOTAL,
    )
    with pytest.raises(InvalidInput, match="start_time"):
        await meters.stub("viewer").QueryConsumption(request)


async def test_a_method_that_is_not_there_says_so(meters):
    with pytest.raises(PermanentError):
        await meters.stub("admin").DeleteMeter(pb.DeleteMeterRequest(name=f"{HERE}/meters/m"))
