"""Waivers over gRPC: a council's decision lowers floors until its review, and what follows from it."""

from datetime import date, timedelta
from typing import Any

import pytest

from domain.errors import InvalidInput, NotFound, NotPermitted
from lichtbuch.lighting.v1 import control_pb2 as ctl
from lichtbuch.lighting.v1 import inventory_pb2 as inv
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from lichtbuch.lighting.v1 import waivers_pb2 as wv
from lichtbuch.type.v1.types_pb2 import Date
from tests.services.lighting.bench import NOON
from tests.services.lighting.running import (
    FITTER,
    OTHER,
    SCHEDULER,
    Lighting,
    T,
    at,
    override_message,
    plan_message,
    stamp,
)

DARK_NIGHT = ((0, 0), (5, 1000), (12, 0), (17, 1000), (19.2, 0))
YEARS = 24 * 365.25


def waiver(
    floor: int = 0, start: float | None = None, review: float = 24 * 365, *targets: str, **changes: Any
) -> wv.Waiver:
    """A waiver until hours after noon; for the whole town where no target is given."""
    values: dict[str, Any] = {
        "targets": targets or (T,), "floor_permille": floor, "decision_reference": "StVV 2026/117",
        "decided_on": Date(year=2026, month=10, day=1), "review_time": at(review), "sign_at_pole": True,
        "reason": "off from 23:00 to 4:00", **changes,
    }  # fmt: skip
    if start is not None:
        values["start_time"] = at(start)
    return wv.Waiver(**values)


async def decide(light: Lighting, given: wv.Waiver, subject: str = "planner", **request: Any) -> wv.Waiver:
    made: wv.Waiver = await light.as_(subject).CreateWaiver(wv.CreateWaiverRequest(parent=T, waiver=given, **request))
    return made


def reasons(error: InvalidInput) -> str:
    return "; ".join(str(violation) for violation in error.violations)


async def test_under_a_waiver_the_street_goes_dark_and_at_its_review_the_floor_holds_again_by_itself(
    lighting: Lighting,
):
    names = await lighting.street()
    with pytest.raises(InvalidInput, match="that takes a council's waiver"):
        await lighting.put_plan(*DARK_NIGHT)
    made = await decide(lighting, waiver(0, None, 24 * 30), waiver_id="W-1")
    assert (made.name, made.author, list(made.warnings)) == (f"{T}/waivers/W-1", "planner", [])
    await lighting.put_plan(*DARK_NIGHT, days=1)
    await lighting.known()
    await lighting.to(12.5)
    assert lighting.town.levels(1) == [0] * 4
    states = await lighting.states(luminaires=[names[0]])
    assert (states.due_permille[0], states.due_sources[0]) == (0, ctl.DUE_SOURCE_PLAN)
    released = await lighting.planner.ReleaseWaiver(wv.ReleaseWaiverRequest(name=made.name, reason="accident"))
    assert released.HasField("released_at")
    await lighting.passes(4)
    assert lighting.town.levels(1) == [400] * 4
    again = await lighting.planner.ReleaseWaiver(wv.ReleaseWaiverRequest(name=made.name))
    assert again == released
    trail = [r.action.rpartition("/")[2] for r in await lighting.trail(made.name)]
    assert trail == ["ReleaseWaiver", "CreateWaiver"]


async def test_the_review_ends_a_waiver_without_anybody_doing_anything(light: Lighting):
    await light.street()
    await decide(light, waiver(0, None, 24))
    await light.put_plan((0, 0), (5, 1000), (12, 0), (17, 1000), (19, 0))
    await light.known()
    # The same plan goes on for another night, as it would if the scheduler were away.
    later = light.clock.now() + timedelta(days=2)
    calculator = light.parts.control._calculator
    assert calculator.next_change(NOON + timedelta(hours=20)) == int((NOON + timedelta(days=1)).timestamp() * 1000)
    assert set(calculator.at(NOON + timedelta(hours=13)).level.tolist()) == {0}
    assert set(calculator.at(later + timedelta(hours=13)).level.tolist()) == {1000}


async def test_a_plan_is_held_to_the_floor_that_holds_over_its_whole_span(light: Lighting):
    await light.street()
    await decide(light, waiver(0, 0, 13), waiver_id="SHORT")
    with pytest.raises(InvalidInput) as caught:
        await light.put_plan(*DARK_NIGHT)
    assert f"{T}/luminaires/L-1-0" in reasons(caught.value)
    assert f"{T}/waivers/SHORT holds from 2026-11-10 11:00 to 2026-11-11 00:00 UTC only" in reasons(caught.value)
    await decide(light, waiver(300, 13, 24), waiver_id="NEXT")
    with pytest.raises(InvalidInput, match="dark in the civil night"):
        await light.put_plan(*DARK_NIGHT)
    await light.put_plan((0, 0), (5, 1000), (11, 0), (13, 300), (17, 1000), (19.2, 0))
    with pytest.raises(InvalidInput, match="299 per mille"):
        await light.put_plan((0, 0), (5, 1000), (11, 0), (13, 299), (17, 1000), (19.2, 0))


async def test_overrides_may_go_down_to_the_waivers_floor_and_no_further(light: Lighting):
    names = await light.street()
    await decide(light, waiver(200, 0, 12, names[0]))
    operator = light.operator

    async def order(level: int, start: float, end: float, *targets: str) -> None:
        await operator.CreateOverride(
            pb.CreateOverrideRequest(parent=T, override=override_message(level, start, end, *targets))
        )

    await order(200, 6, 12, names[0])
    for level, start, end, target in ((199, 6, 12, names[0]), (200, 6, 13, names[0]), (200, 6, 12, names[1])):
        with pytest.raises(InvalidInput, match="takes a council's waiver"):
            await order(level, start, end, target)
    with pytest.raises(InvalidInput, match="dark in the civil night"):
        await order(0, 6, 12, names[0])
    await decide(light, waiver(0, 0, 24, f"{T}/feeders/F-1"))
    await order(0, 6, 12, names[0])
    await order(0, 6, 12, T)


@pytest.mark.parametrize("target", ["luminaires/L-1-0", "groups/default", "feeders/F-1", "cabinets/C-1", ""])
async def test_a_waiver_for_any_kind_of_target_is_heeded_when_a_plan_is_put(light: Lighting, target: str):
    await light.street(lamps=1)
    await decide(light, waiver(0, None, 24 * 30, f"{T}/{target}" if target else T))
    await light.put_plan(*DARK_NIGHT)


async def test_a_crossing_stays_lit_waiver_or_not_and_the_waiver_says_so(light: Lighting):
    await light.street()
    crossing = inv.Luminaire(feeder=f"{T}/feeders/F-1", conflict_area=True, floor_permille=1000)
    await light.planner.CreateLuminaire(pb.CreateLuminaireRequest(parent=T, luminaire_id="X", luminaire=crossing))
    made = await decide(light, waiver(sign_at_pole=False))
    assert [w for w in made.warnings if "1 luminaires at crossings" in w]
    assert [w for w in made.warnings if "Zeichen 394" in w]
    await light.put_plan(*DARK_NIGHT)
    await light.known()
    await light.to(12.5)
    states = await light.states()
    due = dict(zip(states.names, states.due_permille, strict=True))
    assert due.pop(f"{T}/luminaires/X") == 1000
    assert set(due.values()) == {0}
    for level in (0, 500):
        request = override_message(level, 12.6, 13, f"{T}/luminaires/X")
        with pytest.raises(InvalidInput, match="conflict area"):
            await light.operator.CreateOverride(pb.CreateOverrideRequest(parent=T, override=request))


REFUSED = [
    ({"targets": []}, "waiver.targets", "is required"),
    ({"targets": [f"{T}/groups/none"]}, "waiver.targets[0]", "does not exist"),
    ({"targets": [f"{T}/luminaireModels/LED-23"]}, "waiver.targets[0]", "is none of"),
    ({"targets": [T, f"{OTHER}/groups/default"]}, "waiver.targets[1]", "not of the"),
    ({"floor_permille": 1000}, "waiver.floor_permille", "999"),
    ({"floor_permille": -1}, "waiver.floor_permille", "0"),
    ({"decision_reference": ""}, "waiver.decision_reference", "is required"),
    ({"reason": ""}, "waiver.reason", "is required"),
    ({"decided_on": None}, "waiver.decided_on", "is required"),
    ({"decided_on": Date(year=2026, month=2, day=30)}, "waiver.decided_on", "is not a date"),
    ({"decided_on": Date(year=2026, month=11, day=11)}, "waiver.decided_on", "is still to come"),
    ({"review_time": None}, "waiver.review_time", "is required"),
    ({"start_time": at(5), "review_time": at(5)}, "waiver.review_time", "is not after start_time"),
    ({"start_time": at(-5), "review_time": at(-1)}, "waiver.review_time", "is over already"),
    ({"review_time": at(5 * YEARS + 72)}, "waiver.review_time", "more than five years"),
]


@pytest.mark.parametrize(("changes", "field", "reason"), REFUSED)
async def test_a_waiver_that_may_not_be_is_refused_with_field_and_reason(light: Lighting, changes, field, reason):
    await light.street(lamps=1)
    with pytest.raises(InvalidInput) as caught:
        await decide(light, waiver(**changes))
    assert any(v.field == field and reason in v.reason for v in caught.value.violations), reasons(caught.value)
    listed = await light.planner.ListWaivers(wv.ListWaiversRequest(parent=T))
    assert list(listed.waivers) == []


async def test_waivers_are_listed_by_name_all_or_those_that_hold_or_will(lighting: Lighting):
    await lighting.street(lamps=1)
    for name, start, review in (("A", 0, 1), ("B", 0, 48), ("C", 24, 48), ("D", 0, 48)):
        await decide(lighting, waiver(100, start, review), waiver_id=name)
    await lighting.planner.ReleaseWaiver(wv.ReleaseWaiverRequest(name=f"{T}/waivers/D"))
    await lighting.to(2)

    async def ids(**request: Any) -> list[str]:
        found = await lighting.as_("viewer").ListWaivers(wv.ListWaiversRequest(parent=T, **request))
        return [w.name.rpartition("/")[2] for w in found.waivers]

    assert await ids() == ["A", "B", "C", "D"]
    assert await ids(active_only=True) == ["B", "C"]
    assert await ids(page_size=2) == ["A", "B"]
    got = await lighting.as_("viewer").GetWaiver(wv.GetWaiverRequest(name=f"{T}/waivers/C"))
    assert (got.decision_reference, got.decided_on.day, got.targets) == ("StVV 2026/117", 1, [T])
    with pytest.raises(NotFound):
        await lighting.planner.GetWaiver(wv.GetWaiverRequest(name=f"{T}/waivers/none"))


async def test_only_who_may_plan_enters_a_waiver(light: Lighting):
    await light.street(lamps=1)
    for subject in ("operator", "viewer", FITTER, SCHEDULER):
        with pytest.raises(NotPermitted):
            await decide(light, waiver(), subject)
    made = await decide(light, waiver(), "admin", request_id="once")
    assert await decide(light, waiver(), "admin", request_id="once") == made


async def test_a_waiver_outlasts_a_restart_without_the_database(light: Lighting):
    await light.street(lamps=1)
    await decide(light, waiver(150))
    memory = light.parts.memory
    assert memory._snapshot is not None
    assert [w.floor_permille for w in memory._snapshot.load().orders.waivers] == [150]
    assert memory._snapshot.load().orders == memory.known.orders


def test_the_dates_of_these_tests_fit_each_other():
    assert date(2026, 11, 10) == NOON.date()
    assert plan_message(*DARK_NIGHT).hash


async def test_a_group_tells_the_floor_of_its_classes_and_the_one_that_holds_now_and_then(lighting: Lighting):
    await lighting.street()
    await lighting.planner.CreateGroup(pb.CreateGroupRequest(parent=T, group_id="north", group=inv.Group()))
    await lighting.import_lines(luminaire_ids=["N-1", "N-2"], floors_permille=[600, 300], group_ids=["north", "north"])

    async def floors(instant: Any = None) -> dict[str, tuple[int, int]]:
        answer = await lighting.as_("viewer").ListGroups(pb.ListGroupsRequest(parent=T, at=instant))
        return {g.name.rsplit("/", 1)[-1]: (g.floor_permille, g.holding_floor_permille) for g in answer.groups}

    own = {"default": (400, 400), "north": (600, 600)}
    assert await floors() == own
    made = await decide(lighting, waiver(100, 1, 24 * 30, f"{T}/luminaires/N-1", f"{T}/cabinets/C-1"))
    assert await floors() == own  # it begins in an hour
    await lighting.to(2)
    under = {"default": (400, 100), "north": (600, 300)}
    assert await floors() == under
    got = await lighting.planner.GetGroup(pb.GetGroupRequest(name=f"{T}/groups/north"))
    assert got.holding_floor_permille == 300
    held = stamp(lighting.clock.now())
    await lighting.to(3)
    await lighting.planner.ReleaseWaiver(wv.ReleaseWaiverRequest(name=made.name, reason="accident"))
    assert await floors() == own
    assert (await floors(held), await floors(at(0.5))) == (under, own)


async def test_whoever_keeps_plans_sees_that_waivers_changed(light: Lighting):
    await light.street(lamps=1)

    async def waivers() -> str:
        found = await light.as_(SCHEDULER).ListPlanHashes(pb.ListPlanHashesRequest(parent=T))
        return str(found.waivers_hash)

    before = await waivers()
    made = await decide(light, waiver(300))
    during = await waivers()
    assert during != before
    assert await waivers() == during
    await light.planner.ReleaseWaiver(wv.ReleaseWaiverRequest(name=made.name, reason="decided otherwise"))
    assert await waivers() == before
