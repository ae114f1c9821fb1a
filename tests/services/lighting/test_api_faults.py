"""People and the book of faults, over real gRPC: lists, acknowledgements, reports by hand, who may what."""

import asyncio

import pytest

from domain.errors import FailedPrecondition, InvalidInput, NotFound, NotPermitted
from lichtbuch.lighting.v1 import faults_pb2 as flt
from servicekit.database import Database
from services.lighting.app import MIGRATIONS
from tests.services.lighting.running import FITTER, Lighting, T, at, running_lighting
from tests.support.waiting import eventually

NIGHT = ((0, 0), (5, 1000), (10, 500), (17, 1000), (19.2, 0))


async def faults(lighting: Lighting, caller: str = "viewer", **filters: object) -> list[flt.Fault]:
    answer = await lighting.as_(caller).ListFaults(flt.ListFaultsRequest(parent=T, **filters))  # type: ignore[arg-type]
    return list(answer.faults)


async def told(lighting: Lighting, count: int) -> list[flt.Fault]:
    """So many standing faults, once the book has reached the database."""
    for _ in range(600):
        found = await faults(lighting, open_only=True)
        if len(found) == count:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"{count} faults were expected, {[f.subject for f in found]} stand")


async def lit(lighting: Lighting) -> list[str]:
    names = await lighting.street()
    await lighting.put_plan(*NIGHT)
    await lighting.known()
    await lighting.to(6)
    return names


async def test_a_fault_is_found_acknowledged_and_cleared_by_itself_with_its_history(lighting: Lighting):
    names = await lit(lighting)
    lighting.town.lamp(1, 0).lamp_failure = True
    await lighting.passes(4)
    fault = (await told(lighting, 1))[0]
    assert (fault.kind, fault.subject, fault.cabinet) == (flt.FAULT_KIND_LAMP_FAILURE, names[0], f"{T}/cabinets/C-1")
    assert fault.position.latitude_deg == pytest.approx(50.868)
    assert not fault.HasField("cleared_at")
    assert not fault.HasField("acknowledged_at")
    assert not fault.by_hand
    request = flt.AcknowledgeFaultRequest(name=fault.name, note="ladder on Tuesday")
    known = await lighting.operator.AcknowledgeFault(request)
    assert (known.acknowledged_by, known.acknowledgement_note) == ("operator", "ladder on Tuesday")
    again = await lighting.operator.AcknowledgeFault(request)
    assert again == known
    assert await faults(lighting, open_only=True, unacknowledged_only=True) == []
    lighting.town.lamp(1, 0).lamp_failure = False
    await lighting.passes(4)
    await told(lighting, 0)
    [past] = await faults(lighting)
    assert (past.uid, past.raised_at, past.end) == (fault.uid, fault.raised_at, flt.FAULT_END_SEEN_GOOD)
    assert past.acknowledgement_note == "ladder on Tuesday"
    assert past.cleared_at.ToMilliseconds() > past.raised_at.ToMilliseconds()
    assert (await lighting.as_("viewer").GetFault(flt.GetFaultRequest(name=fault.name))) == past
    trail = await lighting.trail(fault.name)
    assert [(r.actor, r.reason) for r in trail] == [("operator", "ladder on Tuesday")]


async def test_a_restart_raises_nothing_again(issuer, database_url, tmp_path):
    async with running_lighting(issuer, database_url, tmp_path) as first:
        await lit(first)
        first.town.lamp(1, 0).lamp_failure = True
        await first.passes(4)
        fault = (await told(first, 1))[0]
        await first.operator.AcknowledgeFault(flt.AcknowledgeFaultRequest(name=fault.name, note="seen"))
    async with running_lighting(issuer, database_url, tmp_path, clock=first.clock, town=first.town) as second:
        await eventually(lambda: second.parts.control.holds_field)  # before that it sees nothing, and raises nothing
        await second.passes(6)
        [same] = await told(second, 1)
        assert (same.uid, same.acknowledgement_note) == (fault.uid, "seen")
        second.town.lamp(1, 0).lamp_failure = False
        await second.passes(6)
        await told(second, 0)


async def test_reports_by_hand_are_listed_in_the_order_of_the_street_and_cleared_by_a_person(lighting: Lighting):
    names = await lit(lighting)
    report = flt.ReportFaultRequest(parent=T, subject=names[2], text="flickers, says a neighbour", request_id="r1")
    made = await lighting.operator.ReportFault(report)
    assert (made.kind, made.by_hand, made.reported_by) == (flt.FAULT_KIND_REPORTED, True, "operator")
    assert await lighting.operator.ReportFault(report) == made
    second = flt.ReportFaultRequest(parent=T, subject=names[2], text="dark, says another")
    await lighting.operator.ReportFault(second)
    third = flt.ReportFaultRequest(parent=T, subject=f"{T}/cabinets/C-1", text="graffiti")
    await lighting.operator.ReportFault(third)
    assert [f.text for f in await faults(lighting, open_only=True)] == [
        "graffiti", "flickers, says a neighbour", "dark, says another",
    ]  # fmt: skip
    cleared = await lighting.operator.ClearFault(flt.ClearFaultRequest(name=made.name, note="new clamp"))
    assert (cleared.end, cleared.acknowledgement_note) == (flt.FAULT_END_CLEARED_BY_PERSON, "new clamp")
    assert await lighting.operator.ClearFault(flt.ClearFaultRequest(name=made.name)) == cleared
    assert len(await faults(lighting, open_only=True)) == 2
    assert [r.reason for r in await lighting.trail(made.name)] == ["new clamp", "flickers, says a neighbour"]


async def test_only_what_was_reported_by_hand_is_cleared_by_hand(light: Lighting):
    await lit(light)
    light.town.lamp(1, 0).gear_failure = True
    await light.passes(6)
    fault = (await told(light, 1))[0]
    with pytest.raises(FailedPrecondition, match="seen to be good"):
        await light.operator.ClearFault(flt.ClearFaultRequest(name=fault.name))


async def test_lists_are_paged_and_filtered(light: Lighting):
    names = await lit(light)
    for index, name in enumerate(names):
        await light.operator.ReportFault(flt.ReportFaultRequest(parent=T, subject=name, text=f"report {index}"))
    token, seen = "", []
    while True:
        request = flt.ListFaultsRequest(parent=T, page_size=3, page_token=token, open_only=True)
        answer = await light.as_("viewer").ListFaults(request)
        seen += [fault.subject for fault in answer.faults]
        token = answer.next_page_token
        if not token:
            break
    assert seen == names
    assert len(await faults(light, subject=names[1])) == 1
    assert len(await faults(light, cabinet=f"{T}/cabinets/C-1")) == 4
    assert await faults(light, street="Nowhere") == []
    assert await faults(light, kinds=[flt.FAULT_KIND_LAMP_FAILURE]) == []
    assert len(await faults(light, kinds=[flt.FAULT_KIND_REPORTED], start_time=at(0), end_time=at(20))) == 4
    assert await faults(light, end_time=at(1)) == []


async def test_a_fitter_sees_and_reports_what_is_bound_to_them_and_nothing_else(light: Lighting):
    await lit(light)
    other = await light.street(2)
    await light.known()
    near = flt.ReportFaultRequest(parent=T, subject=f"{T}/luminaires/L-1-0", text="a wasps' nest")
    far = flt.ReportFaultRequest(parent=T, subject=other[0], text="dark")
    await light.as_(FITTER).ReportFault(near)
    with pytest.raises(NotPermitted):
        await light.as_(FITTER).ReportFault(far)
    hidden = await light.operator.ReportFault(far)
    assert [f.subject for f in await faults(light, FITTER)] == [f"{T}/luminaires/L-1-0"]
    with pytest.raises(NotPermitted):
        await light.as_(FITTER).AcknowledgeFault(flt.AcknowledgeFaultRequest(name=hidden.name))
    with pytest.raises(NotPermitted):
        await light.as_("viewer").AcknowledgeFault(flt.AcknowledgeFaultRequest(name=hidden.name))


@pytest.mark.parametrize(
    ("request_", "field", "reason"),
    [
        (flt.ReportFaultRequest(parent=T, subject=f"{T}/luminaires/none", text="dark"), "subject", "does not exist"),
        (flt.ReportFaultRequest(parent=T, subject=f"{T}/groups/default", text="dark"), "subject", "none of"),
        (flt.ReportFaultRequest(parent=T, subject=f"{T}/luminaires/L-1-0"), "text", ""),
        (flt.ReportFaultRequest(parent=T, text="dark"), "subject", ""),
        (flt.ReportFaultRequest(parent=T, subject=f"{T}/luminaires/L-1-0", text="x" * 1001), "text", "1000"),
        (flt.ReportFaultRequest(parent=T, subject="municipalities/x/luminaires/L", text="dark"), "subject", ""),
    ],
)
async def test_a_wrong_report_is_refused_with_its_field(light: Lighting, request_, field: str, reason: str):
    await light.street()
    with pytest.raises(InvalidInput) as caught:
        await light.operator.ReportFault(request_)
    assert [v.field for v in caught.value.violations] == [field]
    assert reason in caught.value.violations[0].reason


async def test_wrong_lists_and_unknown_faults_are_refused(light: Lighting):
    await light.street()
    with pytest.raises(InvalidInput, match="end_time"):
        await faults(light, start_time=at(5), end_time=at(4))
    with pytest.raises(InvalidInput, match="cabinet"):
        await faults(light, cabinet=f"{T}/cabinets/none")
    with pytest.raises(NotFound):
        await light.operator.AcknowledgeFault(flt.AcknowledgeFaultRequest(name=f"{T}/faults/none"))


async def test_the_union_sees_the_faults_of_all_its_towns(light: Lighting):
    names = await lit(light)
    await light.operator.ReportFault(flt.ReportFaultRequest(parent=T, subject=names[0], text="dark"))
    request = flt.ListFaultsRequest(parent="municipalities/-", cabinet=f"{T}/cabinets/C-1")
    answer = await light.as_("auditor").ListFaults(request)
    assert [fault.subject for fault in answer.faults] == [names[0]]


async def test_faults_of_a_night_without_the_database_are_told_once_when_it_is_back(
    issuer, postgres_server, postgres_database_url, tmp_path
):
    opened = Database(postgres_database_url, "lighting", pool_size=1)
    await opened.migrate(MIGRATIONS)
    await opened.close()
    async with running_lighting(issuer, postgres_database_url, tmp_path) as first:
        names = await lit(first)
        first.town.lamp(1, 0).lamp_failure = True
        await first.passes(4)
        before = (await told(first, 1))[0]
        postgres_server.cut_off(postgres_database_url)
        first.town.lamp(1, 1).lamp_failure = True
        await first.passes(6)
    async with running_lighting(issuer, postgres_database_url, tmp_path, clock=first.clock, town=first.town) as second:
        await eventually(lambda: second.parts.control.holds_field)  # before that it sees nothing, and raises nothing
        await second.passes(6)
        postgres_server.bring_back(postgres_database_url)
        await second.parts.memory.refresh()
        await second.passes(2)
        found = await told(second, 2)
        assert [(f.subject, f.uid == before.uid) for f in found] == [(names[0], True), (names[1], False)]
        assert len(await faults(second)) == 2
