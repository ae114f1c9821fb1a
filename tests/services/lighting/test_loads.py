"""What groups draw at which level: the sum of their lamps' curves, in parts that always show the same level."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from domain.errors import InvalidInput, NotPermitted
from domain.level import PowerCurve
from lichtbuch.lighting.v1 import inventory_pb2 as inv
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from lichtbuch.lighting.v1 import loads_pb2
from services.lighting.columns import build_columns
from services.lighting.energy import Drawn
from services.lighting.loads import GearKnown, floors_over, group_load
from services.lighting.own_reduction import windows_of
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
    Reduction,
    SwitchingOwner,
    TownRecord,
    WaiverRecord,
)
from tests.services.lighting.running import FITTER, OTHER, Lighting, T

LED = Drawn(PowerCurve(((100, 330), (500, 610), (1000, 1000)), 22.8, 0.3), estimated=False)
SMALL = Drawn(PowerCurve(((50, 200), (1000, 1000)), 10.0, 0.2), estimated=False)


def inventory(*lamps: LuminaireRecord) -> Inventory:
    return Inventory(
        towns=(TownRecord("t", "bad-hersfeld", 50.868, 9.707),),
        cabinets=(
            CabinetRecord("c", "t", "C-1", latitude_deg=50.87, longitude_deg=9.71),
            CabinetRecord("old", "t", "C-2", switching_owner=SwitchingOwner.RIPPLE_CONTROL),
        ),
        feeders=(
            FeederRecord("switched", "t", "F-1", "c", 0, FeederSupply.SWITCHED),
            FeederRecord("permanent", "t", "F-2", "c", 1, FeederSupply.PERMANENT),
            FeederRecord("rippled", "t", "F-3", "old", 0, FeederSupply.SWITCHED),
        ),
        gateways=(GatewayRecord("g", "t", "G-1", "c", "e"),),
        groups=(GroupRecord("grp", "t", "markt"), GroupRecord("empty", "t", "leer")),
        luminaires=lamps,
    )


def lamp(uid: str, feeder: str = "switched", gateway: str = "g", **changes: object) -> LuminaireRecord:
    given = {"floor_permille": 400} | changes
    return LuminaireRecord(uid, "t", f"L-{uid}", "grp", feeder, gateway, **given)  # type: ignore[arg-type]


def test_the_power_of_a_part_is_the_sum_of_its_lamps_at_every_level() -> None:
    columns = build_columns(inventory(lamp("a"), lamp("b"), lamp("c")))
    load = group_load(columns, columns.rows_of_target("grp"), {"a": LED, "b": SMALL, "c": LED})
    [part] = load.parts
    assert (part.luminaires, part.floor_permille, part.dimmable) == (3, 400, True)
    assert (part.latitude_deg, part.longitude_deg) == (50.87, 9.71)  # at the cabinet, where control has its sun
    for level in (1, 49, 50, 75, 100, 333, 500, 777, 1000):
        expected = 2 * LED.curve.power_w(level) + SMALL.curve.power_w(level)
        between = float(np.interp(level, part.levels_permille, part.powers_w))
        assert between == pytest.approx(expected)


def test_parts_differ_by_floor_and_conflict_area_and_gear_behind_a_contactor_draws_nothing_when_off() -> None:
    columns = build_columns(
        inventory(lamp("a"), lamp("b", "permanent"), lamp("c", conflict_area=True), lamp("d", floor_permille=0))
    )
    load = group_load(columns, columns.rows_of_target("grp"), dict.fromkeys("abcd", LED))
    assert [(p.floor_permille, p.dimmable, p.luminaires, p.standby_power_w) for p in load.parts] == [
        (400, False, 1, 0.0),
        (400, True, 2, 0.3),
        (1000, True, 1, 0.0),
    ]


def test_what_is_not_known_or_not_ours_is_counted() -> None:
    columns = build_columns(inventory(lamp("a", gateway=""), lamp("b", "rippled"), lamp("c")))
    load = group_load(columns, columns.rows_of_target("grp"), {"a": LED, "b": LED})
    assert (load.luminaires, load.estimated, load.undimmed, load.foreign) == (3, 1, 1, 1)
    alone = build_columns(inventory(lamp("a", gateway="")))
    [part] = group_load(alone, alone.rows_of_target("grp"), {"a": LED}).parts
    assert part.levels_permille == (1000,)  # a lamp without communication costs full power at any light
    assert part.powers_w == (22.8,)
    assert group_load(columns, columns.rows_of_target("empty"), {}).parts == ()


def test_a_waiver_lowers_the_floor_where_it_holds_over_the_whole_period() -> None:
    columns = build_columns(inventory(lamp("a"), lamp("b"), lamp("c", floor_permille=200)))
    waivers = [WaiverRecord("w", "t", 300, 1_000, 5_000, ("a", "c")), WaiverRecord("v", "t", 0, 2_000, 3_000, ("grp",))]
    for start_ms, end_ms, floors in (
        (0, 1_000, [400, 400, 200]),
        (1_000, 2_000, [300, 400, 200]),
        (2_000, 3_000, [0, 0, 0]),
        (2_000, 3_001, [300, 400, 200]),
        (500, 2_000, [400, 400, 200]),
    ):
        assert floors_over(columns, waivers, start_ms, end_ms).tolist() == floors
    held = floors_over(columns, waivers, 1_000, 2_000)
    load = group_load(columns, columns.rows_of_target("grp"), dict.fromkeys("abc", LED), held)
    assert [part.floor_permille for part in load.parts] == [200, 300, 400]


def test_what_something_else_reduces_is_a_set_of_its_own_with_its_windows() -> None:
    columns = build_columns(
        inventory(lamp("a"), lamp("b", commanded=False), lamp("c", commanded=False), lamp("d", commanded=False))
    )
    half = windows_of(Reduction.HALF_NIGHT_CONDUCTOR, "22:30", "05:00", 0, ())
    own = windows_of(Reduction.STORED_PROFILE, "", "", 0, [[-7200, 14400, 500]])
    assert half is not None
    assert own is not None
    known = GearKnown({"b": half, "c": own, "d": None})
    load = group_load(columns, columns.rows_of_target("grp"), dict.fromkeys("abcd", LED), None, known)
    assert load.unknown_reduction == 1
    parts = {part.windows: part for part in load.parts}
    assert len(parts) == 3
    commanded = parts[()]
    assert commanded.luminaires == 2  # with the one of which nobody knows when it is reduced
    assert commanded.powers_w[-1] == pytest.approx(45.6)
    [halved] = [w for windows in parts for w in windows if w.window.by_share]
    assert (halved.window.begin_time, halved.window.end_time) == ("22:30", "05:00")
    assert halved.power_w == pytest.approx(11.4)  # half of the lamps: half of the power
    [stored] = [w for windows in parts for w in windows if not w.window.by_share]
    assert (stored.window.begin_offset_s, stored.window.level_permille) == (-7200, 500)
    assert stored.power_w == pytest.approx(22.8 * 0.61)  # a dimmed lamp: what its curve says
    assert windows_of(Reduction.CONTROL_PHASE, "", "", 400, ()) is None
    assert windows_of(Reduction.STORED_PROFILE, "22:30", "05:00", 0, ()) is None
    assert windows_of(Reduction.NONE, "22:30", "05:00", 0, ()) == ()


def test_a_ramp_is_followed_by_gear_that_can_fade_and_out_of_darkness_by_gear_that_stays_supplied() -> None:
    columns = build_columns(
        replace(
            inventory(lamp("a"), lamp("b", "permanent"), lamp("c", gateway="")),
            endpoints=(EndpointRecord("e", "t", "E-1", "modbus+tcp://x", "intesis-dali", EndpointState.IN_CONTROL),),
        )
    )
    load = group_load(columns, columns.rows_of_target("grp"), {}, None, GearKnown({}, {0: 90}))
    assert sorted((p.longest_ramp_s, p.stays_supplied) for p in load.parts) == [(0, False), (90, False), (90, True)]


def test_light_of_a_virtual_output_costs_what_is_written_for_it() -> None:
    columns = build_columns(inventory(lamp("a", output_permille=800, least_permille=100)))
    [part] = group_load(columns, columns.rows_of_target("grp"), {"a": SMALL}).parts
    for level in (1, 100, 125, 500, 800, 1000):
        command = max(100, level * 0.8)
        between = float(np.interp(level, part.levels_permille, part.powers_w))
        assert between == pytest.approx(float(np.interp(command, [50, 1000], [2.0, 10.0])), abs=0.01)


async def test_the_loads_of_groups_come_with_their_cabinets_and_what_else_hangs_there(light: Lighting) -> None:
    names = await light.street()
    cabinet = (await light.planner.ListCabinets(pb.ListCabinetsRequest(parent=T))).cabinets[0]
    load = inv.ForeignLoad(
        display_name="Christmas", power_w=400, from_month=11, to_month=1, from_time="16:00", to_time="23:00"
    )
    always = inv.ForeignLoad(display_name="Bus shelter", power_w=20, from_month=1, to_month=12)
    changed = inv.Cabinet(name=cabinet.name, foreign_loads=[load, always])
    await light.planner.UpdateCabinet(
        pb.UpdateCabinetRequest(cabinet=changed, update_mask=FieldMask(paths=["foreign_loads"]))
    )
    with pytest.raises(InvalidInput, match=r"foreign_loads\[0\]\.from_time"):
        half = inv.ForeignLoad(display_name="x", power_w=1, from_month=1, to_month=2, to_time="16:00")
        await light.planner.UpdateCabinet(
            pb.UpdateCabinetRequest(
                cabinet=inv.Cabinet(name=cabinet.name, foreign_loads=[half]),
                update_mask=FieldMask(paths=["foreign_loads"]),
            )
        )
    await light.known()
    answer = await light.as_("service:scheduler").DescribeGroupLoads(loads_pb2.DescribeGroupLoadsRequest(parent=T))
    [found] = answer.cabinets
    assert (found.cabinet, found.luminaire_count) == (cabinet.name, len(names))
    assert list(found.foreign_loads) == [load, always]
    assert {part.cabinet for each in answer.loads for part in each.parts} == {cabinet.name}


async def test_the_scheduler_asks_for_the_loads_of_groups(light: Lighting) -> None:
    await light.street()
    group = inv.Group(display_name="Leer")
    await light.planner.CreateGroup(pb.CreateGroupRequest(parent=T, group_id="leer", group=group))
    stub = light.as_("service:scheduler")
    answer = await stub.DescribeGroupLoads(loads_pb2.DescribeGroupLoadsRequest(parent=T))
    assert [load.group for load in answer.loads] == [f"{T}/groups/default", f"{T}/groups/leer"]
    load = answer.loads[0]
    assert (load.luminaire_count, load.estimated_count, load.undimmed_count, load.foreign_count) == (
        4, 0, 0, 0,
    )  # fmt: skip
    [part] = load.parts
    assert list(part.levels_permille) == [100, 500, 1000]
    assert list(part.powers_w) == pytest.approx([4 * 22.8 * share for share in (0.33, 0.61, 1.0)])
    assert part.floor_permille == 400
    assert (part.position.latitude_deg, part.position.longitude_deg) == (50.868, 9.707)
    one = loads_pb2.DescribeGroupLoadsRequest(parent=T, groups=[f"{T}/groups/leer"])
    assert [item.group for item in (await stub.DescribeGroupLoads(one)).loads] == [f"{T}/groups/leer"]


async def test_unknown_groups_other_towns_and_fitters_are_refused(light: Lighting) -> None:
    none = loads_pb2.DescribeGroupLoadsRequest(parent=T, groups=[f"{T}/groups/none"])
    with pytest.raises(InvalidInput, match=r"groups\[0\].*does not exist"):
        await light.planner.DescribeGroupLoads(none)
    with pytest.raises(NotPermitted):
        await light.planner.DescribeGroupLoads(loads_pb2.DescribeGroupLoadsRequest(parent=OTHER))
    with pytest.raises(NotPermitted):
        await light.as_(FITTER).DescribeGroupLoads(loads_pb2.DescribeGroupLoadsRequest(parent=T))
