"""Meters over gRPC: what is taken, what is refused and why, and what an exchange does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from sqlmodel import select

from domain.errors import (
    AlreadyExists,
    Conflict,
    FailedPrecondition,
    InvalidInput,
    NotFound,
    NotPermitted,
    Unavailable,
)
from lichtbuch.metering.v1 import metering_pb2 as pb
from lichtbuch.registry.v1 import registry_pb2, registry_pb2_grpc
from servicekit.access import Binding, Role
from servicekit.audit import AuditRecord
from servicekit.client import connect
from servicekit.database import Database
from services.metering.store import lock
from tests.services.metering.holding import held, outcome
from tests.services.metering.running import PARENT, Metering, columns, name_of, running_metering, stamp
from tests.support.issuer import Issuer
from tests.support.running import ADMIN, HERSFELD, OPERATOR, PLANNER, SCHWALM, VIEWER


@pytest.fixture
async def metering(issuer: Issuer, database: Database) -> AsyncIterator[Metering]:
    async with running_metering(issuer, database) as running:
        yield running


sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def test_a_meter_is_created_found_listed_changed_and_deleted(metering: Metering) -> None:
    endpoint = metering.registry.add("E-1")
    created = await metering.meter(
        endpoint=endpoint, cabinet=f"{PARENT}/cabinets/C-1", serial_number="4711", connected_load_w=5000
    )
    assert (created.name, created.transformer_ratio, created.point) == (name_of(), 1, "energy_active_import")
    assert [life.serial_number for life in created.lives] == ["4711"]
    stub = metering.as_(PLANNER)
    assert await stub.GetMeter(pb.GetMeterRequest(name=name_of())) == created
    await metering.meter("M-2", building="Rathaus")
    listed = await stub.ListMeters(pb.ListMetersRequest(parent=PARENT, page_size=1))
    rest = await stub.ListMeters(pb.ListMetersRequest(parent=PARENT, page_size=1, page_token=listed.next_page_token))
    assert [meter.name for meter in (*listed.meters, *rest.meters)] == [name_of("M-1"), name_of("M-2")]
    assert rest.next_page_token == ""
    of_cabinet = await stub.ListMeters(pb.ListMetersRequest(parent=PARENT, cabinet=f"{PARENT}/cabinets/C-1"))
    assert [meter.name for meter in of_cabinet.meters] == [name_of("M-1")]
    changed = await stub.UpdateMeter(
        pb.UpdateMeterRequest(
            meter=pb.Meter(name=name_of(), serial_number="4712", etag=created.etag, building="ignored"),
            update_mask=FieldMask(paths=["serial_number"]),
        )
    )
    assert (changed.serial_number, changed.cabinet, changed.building) == ("4712", created.cabinet, "")
    assert changed.lives[0].serial_number == "4712"
    with pytest.raises(Conflict):
        await stub.UpdateMeter(pb.UpdateMeterRequest(meter=created))
    deleted = await stub.DeleteMeter(pb.DeleteMeterRequest(name=name_of(), reason="demolished"))
    assert deleted.lives[0].HasField("removed_at")
    with pytest.raises(NotFound):
        await stub.GetMeter(pb.GetMeterRequest(name=name_of()))
    trail = await metering.servicer.database.read(lambda session: session.exec(select(AuditRecord)).all())
    assert [record.action.rsplit("/")[-1] for record in trail] == [
        "CreateMeter",
        "CreateMeter",
        "UpdateMeter",
        "DeleteMeter",
    ]
    assert trail[-1].reason == "demolished"


@sqlite_only
async def test_the_same_request_id_creates_one_meter(metering: Metering) -> None:
    meter = pb.Meter(medium=pb.MEDIUM_WATER, unit=pb.UNIT_L)
    request = pb.CreateMeterRequest(parent=PARENT, meter=meter, request_id="r-1")
    first, second = [await metering.as_().CreateMeter(request) for _ in range(2)]
    assert first == second


@sqlite_only
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"medium": pb.MEDIUM_WATER}, "meter.unit"),
        ({"unit": pb.UNIT_L}, "meter.unit"),
        ({"unit": 0}, "meter.unit"),
        ({"medium": 0}, "meter.medium"),
        ({"cabinet": f"{PARENT}/cabinets/C", "building": "Rathaus"}, "meter.building"),
        ({"transformer_ratio": -1}, "meter.transformer_ratio"),
        ({"rollover": -5}, "meter.rollover"),
        ({"rollover": 1001, "transformer_ratio": 40}, "meter.rollover"),
        ({"endpoint": f"{PARENT}/endpoints/nowhere"}, "meter.endpoint"),
        ({"endpoint": f"municipalities/{SCHWALM.id}/endpoints/E-1"}, "meter.endpoint"),
    ],
)
async def test_a_meter_that_cannot_be_is_refused_by_field(
    metering: Metering, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await metering.meter(**changes)
    assert field in [violation.field for violation in refused.value.violations]


@sqlite_only
async def test_a_point_that_does_not_count_or_counts_something_else_is_refused(metering: Metering) -> None:
    endpoint = metering.registry.add("E-1")
    for point in ("power_active_total", "no_such_point", "energy_reactive_import", "burning_hours"):
        with pytest.raises(InvalidInput, match=r"meter\.point"):
            await metering.meter(endpoint=endpoint, point=point)


@sqlite_only
async def test_an_endpoint_of_another_service_is_refused(metering: Metering) -> None:
    endpoint = metering.registry.add("gateway", owner=registry_pb2.ENDPOINT_OWNER_LIGHTING)
    with pytest.raises(FailedPrecondition, match="another service"):
        await metering.meter(endpoint=endpoint)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_of_two_that_claim_one_serial_number_at_the_same_time_one_is_refused(metering: Metering) -> None:
    await metering.meter("M-3")
    number = pb.Meter(name=name_of("M-3"), serial_number="aBC")
    change = pb.UpdateMeterRequest(meter=number, update_mask=FieldMask(paths=["serial_number"]))
    async with held(metering, lock.to_give_serial_numbers) as waiting, asyncio.TaskGroup() as tasks:
        claims = [
            tasks.create_task(outcome(call))
            for call in (
                metering.meter("M-1", serial_number="abc"),
                metering.meter("M-2", serial_number="ABC"),
                metering.as_().UpdateMeter(change),
            )
        ]
        await waiting(2)
    assert sorted(one.result() for one in claims) == ["FailedPrecondition", "FailedPrecondition", "done"]


async def test_two_meters_claiming_one_serial_number_are_refused(metering: Metering) -> None:
    await metering.meter("M-1", serial_number="4711")
    with pytest.raises(FailedPrecondition, match="M-1"):
        await metering.meter("M-2", serial_number="4711")
    await metering.meter("M-3", serial_number="1EMH00-47 Ü")
    for other in ("1emh00-47 Ü", "1EMH00-47 Ü"):
        with pytest.raises(FailedPrecondition, match="serial number of meter M-3"):
            await metering.meter("M-2", serial_number=other)
    request = pb.ListMetersRequest(parent=PARENT, identity="1Emh00-47 Ü")
    assert [one.name for one in (await metering.as_().ListMeters(request)).meters] == [name_of("M-3")]
    with pytest.raises(AlreadyExists):
        await metering.meter("M-1")


@sqlite_only
async def test_what_tells_how_counters_are_read_is_fixed_once_there_are_any(metering: Metering) -> None:
    meter = await metering.meter(rollover=10_000)
    mask = FieldMask(paths=["transformer_ratio"])
    changed = pb.Meter(name=meter.name, transformer_ratio=2)
    await metering.as_().UpdateMeter(pb.UpdateMeterRequest(meter=changed, update_mask=mask))
    await metering.ingest(columns([5_000]))
    changed.transformer_ratio = 4
    with pytest.raises(FailedPrecondition, match="transformer_ratio"):
        await metering.as_().UpdateMeter(pb.UpdateMeterRequest(meter=changed, update_mask=mask))
    smaller = pb.UpdateMeterRequest(
        meter=pb.Meter(name=meter.name, rollover=4_000), update_mask=FieldMask(paths=["rollover"])
    )
    with pytest.raises(FailedPrecondition, match="5000"):
        await metering.as_().UpdateMeter(smaller)


async def test_an_exchange_entered_late_turns_doubt_into_consumption(metering: Metering) -> None:
    meter = await metering.meter(serial_number="old")
    await metering.ingest(columns([9_000, 9_100, 20, 120]))
    stub = metering.as_(OPERATOR)
    total = pb.QueryConsumptionRequest(
        parent=PARENT, meters=[meter.name], start_time=stamp(-8), end_time=stamp(-5), step=pb.STEP_TOTAL
    )
    before = await stub.QueryConsumption(total)
    assert list(before.coverages_permille) == [333]
    exchanged = await stub.ExchangeMeter(
        pb.ExchangeMeterRequest(
            name=meter.name,
            exchanged_at=stamp(-6),
            final_reading=9_150,
            first_reading=10,
            serial_number="new",
            reason="calibration ran out",
        )
    )
    assert (exchanged.serial_number, len(exchanged.lives), exchanged.latest_value) == ("new", 2, 120)
    after = await stub.QueryConsumption(total)
    assert (list(after.amounts), list(after.coverages_permille)) == ([100 + 50 + 110], [1000])
    assert after.evidence_hash != before.evidence_hash
    with pytest.raises(FailedPrecondition, match="recorded already"):
        await stub.ExchangeMeter(pb.ExchangeMeterRequest(name=meter.name, exchanged_at=stamp(-6), final_reading=9_150))


@sqlite_only
async def test_an_exchange_in_the_future_or_with_a_counter_that_was_passed_is_refused(metering: Metering) -> None:
    meter = await metering.meter()
    await metering.ingest(columns([9_000]))
    for at, final, field in ((stamp(5), 9_100, "exchanged_at"), (stamp(-1), 5_000, "final_reading")):
        with pytest.raises(InvalidInput, match=field):
            await metering.as_().ExchangeMeter(
                pb.ExchangeMeterRequest(name=meter.name, exchanged_at=at, final_reading=final)
            )


@sqlite_only
async def test_who_may_only_look_changes_nothing_and_who_is_of_another_town_sees_nothing(metering: Metering) -> None:
    await metering.meter()
    viewer = metering.as_(VIEWER)
    await viewer.GetMeter(pb.GetMeterRequest(name=name_of()))
    with pytest.raises(NotPermitted):
        await viewer.DeleteMeter(pb.DeleteMeterRequest(name=name_of()))
    with pytest.raises(NotPermitted):
        await viewer.ListMeters(pb.ListMetersRequest(parent=f"municipalities/{SCHWALM.id}"))
    everywhere = await metering.as_(ADMIN).ListMeters(pb.ListMetersRequest(parent="municipalities/-"))
    assert [meter.name for meter in everywhere.meters] == [name_of()]


@sqlite_only
async def test_a_contractor_sees_the_meters_that_he_is_bound_to(issuer: Issuer, database: Database) -> None:
    bound = {"contractor": [Binding(Role.CONTRACTOR, HERSFELD.id, (name_of("M-1"), f"{PARENT}/cabinets/C-1"))]}
    async with running_metering(issuer, database, bound) as metering:
        for meter, cabinet in (("M-1", ""), ("M-2", f"{PARENT}/cabinets/C-1"), ("M-3", f"{PARENT}/cabinets/C-2")):
            await metering.meter(meter, cabinet=cabinet)
            await metering.ingest(columns([1], meter_id=meter))
        contractor = metering.as_("contractor")
        listed = await contractor.ListMeters(pb.ListMetersRequest(parent=PARENT))
        assert [meter.name for meter in listed.meters] == [name_of("M-1"), name_of("M-2")]
        period: dict[str, Any] = {"parent": PARENT, "start_time": stamp(-10), "end_time": stamp(0)}
        seen = await contractor.ListReadings(pb.ListReadingsRequest(**period))
        assert sorted(seen.readings.meters) == [name_of("M-1"), name_of("M-2")]
        with pytest.raises(NotFound):
            await contractor.GetMeter(pb.GetMeterRequest(name=name_of("M-3")))
        with pytest.raises(NotFound):
            await contractor.ListReadings(pb.ListReadingsRequest(**period, meters=[name_of("M-3")]))


@sqlite_only
async def test_an_unknown_endpoint_while_the_registry_is_away_may_be_tried_again(metering: Metering) -> None:
    known = metering.registry.add("E-1")
    await metering.servicer.endpoints.refresh()
    async with connect("127.0.0.1:1", deadline_s=0.5) as nowhere:
        metering.servicer.endpoints._registry = registry_pb2_grpc.RegistryServiceStub(nowhere)
        await metering.meter("M-1", endpoint=known)
        with pytest.raises(Unavailable, match="registry"):
            await metering.meter("M-2", endpoint=f"{PARENT}/endpoints/E-2")


@sqlite_only
async def test_the_copy_of_the_endpoints_follows_the_registry(metering: Metering) -> None:
    from services.metering.store import endpoints as store

    replica, database = metering.servicer.endpoints, metering.servicer.database
    metering.registry.add("E-1")
    metering.registry.add("L-1", owner=registry_pb2.ENDPOINT_OWNER_LIGHTING)
    await replica.refresh()
    assert [row.endpoint_id for row in await database.read(store.all_rows)] == ["E-1"]
    metering.registry.add("E-1", state=registry_pb2.ENDPOINT_STATE_PLANNED)
    metering.registry.add("E-2")
    await replica.refresh()
    rows = {row.endpoint_id: row.state for row in await database.read(store.all_rows)}
    assert rows == {"E-1": 1, "E-2": 2}
    metering.registry.endpoints.clear()
    await replica.refresh()
    assert await database.read(store.all_rows) == []


@sqlite_only
async def test_an_endpoint_that_is_looked_up_while_the_list_is_asked_for_stays_in_the_copy(
    metering: Metering, monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.metering.store import endpoints as store

    replica, database = metering.servicer.endpoints, metering.servicer.database
    metering.registry.add("E-1")
    ask = metering.registry.ListEndpoints

    async def ask_and_create(request: registry_pb2.ListEndpointsRequest, context: Any) -> Any:
        answer = await ask(request, context)
        await metering.meter("M-2", endpoint=metering.registry.add("E-2"))
        return answer

    class Asked:
        """The registry as a stub, its list as it was a moment ago."""

        async def ListEndpoints(self, request: registry_pb2.ListEndpointsRequest) -> Any:
            return await ask_and_create(request, None)

        async def GetEndpoint(self, request: registry_pb2.GetEndpointRequest) -> Any:
            return await metering.registry.GetEndpoint(request, None)

    monkeypatch.setattr(replica, "_registry", Asked())
    await replica.refresh()
    assert {row.endpoint_id for row in await database.read(store.all_rows)} == {"E-1", "E-2"}
