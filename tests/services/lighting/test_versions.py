"""What was the inventory on a past date has an answer: lamps, references, groups, reach and energy as of then."""

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import InvalidInput, NotFound, NotPermitted
from domain.level import PowerCurve
from lichtbuch.lighting.v1 import inventory_pb2 as inv
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from lichtbuch.lighting.v1 import sensors_pb2
from lichtbuch.type.v1 import types_pb2
from lichtbuch.type.v1.types_pb2 import Position
from servicekit.columns import table_of
from servicekit.database import Database
from services.lighting.app import MIGRATIONS
from services.lighting.energy import Drawn, DrawnSince, LevelChanges, energies, evidence_hash
from services.lighting.store.tables import GroupRow, InventoryVersionRow
from services.lighting.store.versions import rows_at
from tests.services.lighting.bench import NOON
from tests.services.lighting.running import FITTER, LEDGER, H, Lighting, T, at, model_request, stamp
from tests.support.postgres import PostgresServer
from tests.support.running import HERSFELD

NIGHT = ((0, 0), (5, 1000), (19.2, 0))


def now(lighting: Lighting) -> Timestamp:
    return stamp(lighting.clock.now())


async def change(lighting: Lighting, name: str, **values: Any) -> None:
    """Changes a luminaire two seconds later, so that there is a before."""
    await lighting.clock.advance(timedelta(seconds=2))
    await lighting.planner.UpdateLuminaire(
        pb.UpdateLuminaireRequest(
            luminaire=inv.Luminaire(name=name, **values), update_mask=FieldMask(paths=tuple(values))
        )
    )


async def test_a_luminaire_is_told_as_it_stood_then(lighting: Lighting):
    names = await lighting.street()
    before = now(lighting)
    await change(lighting, names[0], pole="17", street="Weinstraße")
    between = now(lighting)
    await lighting.clock.advance(timedelta(seconds=2))
    await lighting.planner.DeleteLuminaire(pb.DeleteLuminaireRequest(name=names[0], reason="pole removed"))
    viewer = lighting.as_("viewer")

    async def pole(instant: Timestamp) -> str:
        lamp: inv.Luminaire = await viewer.GetLuminaire(pb.GetLuminaireRequest(name=names[0], at=instant))
        return lamp.pole

    assert (await pole(before), await pole(between)) == ("", "17")
    with pytest.raises(NotFound):
        await pole(now(lighting))
    with pytest.raises(NotFound):
        await pole(stamp(NOON - H))
    with pytest.raises(InvalidInput, match=r"at.*after now"):
        await pole(stamp(lighting.clock.now() + H))
    then = await viewer.ListLuminaires(pb.ListLuminairesRequest(parent=T, at=between))
    assert [lamp.pole for lamp in then.luminaires] == ["17", "", "", ""]
    assert then.luminaires[0].cabinet == f"{T}/cabinets/C-1"
    later = await viewer.ListLuminaires(pb.ListLuminairesRequest(parent=T, at=now(lighting)))
    assert [lamp.name for lamp in later.luminaires] == names[1:]


async def test_who_changed_it_and_why_stays_with_the_version(lighting: Lighting):
    names = await lighting.street(lamps=1)
    await change(lighting, names[0], pole="17")
    await lighting.planner.DeleteLuminaire(pb.DeleteLuminaireRequest(name=names[0], reason="pole removed"))
    v = sa.table("inventory_version", *map(sa.column, ("kind", "version", "actor", "reason", "deleted")))
    query = (
        sa.select(v.c.version, v.c.actor, v.c.reason, v.c.deleted).where(v.c.kind == "luminaire").order_by("version")
    )
    rows = await lighting.parts.database.read(lambda session: session.connection().execute(query).all())
    assert [(r.version, r.actor, r.reason, bool(r.deleted)) for r in rows] == [
        (1, "planner", "", False), (2, "planner", "", False), (3, "planner", "pole removed", True),
    ]  # fmt: skip


async def test_pages_of_then_neither_skip_nor_repeat_and_keep_their_filters(lighting: Lighting):
    names = await lighting.street(lamps=7)
    await lighting.planner.CreateGroup(pb.CreateGroupRequest(parent=T, group_id="north", group=inv.Group()))
    then = now(lighting)
    await change(lighting, names[3], group=f"{T}/groups/north")
    viewer, seen, token = lighting.as_("viewer"), [], ""
    while True:
        answer = await viewer.ListLuminaires(
            pb.ListLuminairesRequest(
                parent=T,
                page_size=3,
                page_token=token,
                at=then,
                cabinet=f"{T}/cabinets/C-1",
                group=f"{T}/groups/default",
            )
        )
        seen += [lamp.name for lamp in answer.luminaires]
        token = answer.next_page_token
        if not token:
            break
    assert seen == names
    groups = {g.name: g for g in (await viewer.ListGroups(pb.ListGroupsRequest(parent=T, at=then))).groups}
    assert groups[f"{T}/groups/default"].luminaire_count == 7
    assert groups[f"{T}/groups/north"].luminaire_count == 0
    present = {g.name: g for g in (await viewer.ListGroups(pb.ListGroupsRequest(parent=T))).groups}
    told = {g.name: g for g in (await viewer.ListGroups(pb.ListGroupsRequest(parent=T, at=now(lighting)))).groups}
    assert told.keys() == present.keys()
    for name, group in present.items():
        assert (told[name].luminaire_count, told[name].floor_permille) == (group.luminaire_count, group.floor_permille)
        assert abs(told[name].position.longitude_deg - group.position.longitude_deg) < 1e-9
    with pytest.raises(InvalidInput, match="did not exist then"):
        await viewer.ListLuminaires(pb.ListLuminairesRequest(parent=T, at=stamp(NOON - H), cabinet=f"{T}/cabinets/C-1"))


async def test_every_kind_answers_for_then_as_it_answers_for_now(lighting: Lighting):
    await lighting.street()
    viewer, instant = lighting.as_("viewer"), now(lighting)
    for kind, many, name in (
        ("Cabinet", "cabinets", "C-1"), ("Feeder", "feeders", "F-1"), ("Gateway", "gateways", "G-1"),
        ("LuminaireModel", "luminaireModels", "LED-23"), ("Luminaire", "luminaires", "L-1-2"),
        ("Group", "groups", "default"),
    ):  # fmt: skip
        request = getattr(pb, f"Get{kind}Request")
        get = getattr(viewer, f"Get{kind}")
        assert await get(request(name=f"{T}/{many}/{name}")) == await get(
            request(name=f"{T}/{many}/{name}", at=instant)
        )
        listing = getattr(pb, f"List{kind}sRequest")
        found = getattr(viewer, f"List{kind}s")
        assert await found(listing(parent=T)) == await found(listing(parent=T, at=instant))


async def test_an_import_adds_versions_of_what_it_changed_and_of_nothing_else(lighting: Lighting):
    await lighting.street()
    before = now(lighting)
    await lighting.clock.advance(timedelta(seconds=2))
    ids = [f"L-1-{n}" for n in range(4)] + ["N-1"]
    await lighting.import_lines(
        luminaire_ids=ids, floors_permille=[400, 400, 500, 400, 600], group_ids=["new"] + [""] * 4
    )

    def count(session) -> int:
        return len(session.connection().execute(sa.select(table.c.uid).where(of_lamps)).all())

    table = table_of(InventoryVersionRow)
    of_lamps = table.c.kind == "luminaire"
    assert await lighting.parts.database.read(count) == 4 + 2 + 1
    viewer = lighting.as_("viewer")
    then = await viewer.ListLuminaires(pb.ListLuminairesRequest(parent=T, at=before))
    assert [lamp.floor_permille for lamp in then.luminaires] == [400] * 4
    with pytest.raises(NotFound):
        await viewer.GetGroup(pb.GetGroupRequest(name=f"{T}/groups/new", at=before))


async def test_a_fitter_sees_of_then_what_hung_on_the_named_cabinets(lighting: Lighting):
    first, second = await lighting.street(1), await lighting.street(2)
    before = now(lighting)
    await change(lighting, first[0], feeder=f"{T}/feeders/F-2")
    fitter = lighting.as_(FITTER)
    seen = await fitter.ListLuminaires(pb.ListLuminairesRequest(parent=T, at=before))
    assert [lamp.name for lamp in seen.luminaires] == first
    seen = await fitter.ListLuminaires(pb.ListLuminairesRequest(parent=T, at=now(lighting)))
    assert [lamp.name for lamp in seen.luminaires] == first[1:]
    with pytest.raises(NotPermitted):
        await fitter.GetLuminaire(pb.GetLuminaireRequest(name=second[0], at=before))
    cabinets = await fitter.ListCabinets(pb.ListCabinetsRequest(parent=T, at=before))
    assert [cabinet.name for cabinet in cabinets.cabinets] == [f"{T}/cabinets/C-1"]


async def test_energy_of_a_night_uses_what_stood_in_each_part_of_it(lighting: Lighting):
    names = await lighting.street()
    await lighting.put_plan(*NIGHT)
    await lighting.known()
    await lighting.planner.CreateLuminaireModel(model_request("OLD-80", rated_power_w=80, standby_power_w=0))
    await lighting.to(10)
    changed = lighting.clock.now()
    await lighting.planner.UpdateLuminaire(
        pb.UpdateLuminaireRequest(
            luminaire=inv.Luminaire(name=names[0], model=f"{T}/luminaireModels/OLD-80"),
            update_mask=FieldMask(paths=["model"]),
        )
    )
    await lighting.known()
    await lighting.to(15)
    remade = lighting.clock.now()
    await lighting.planner.UpdateLuminaireModel(
        pb.UpdateLuminaireModelRequest(
            luminaire_model=inv.LuminaireModel(name=f"{T}/luminaireModels/OLD-80", rated_power_w=100),
            update_mask=FieldMask(paths=["rated_power_w"]),
        )
    )
    await lighting.known()
    await lighting.to(19)
    request = pb.ComputeEnergyRequest(parent=T, start_time=at(6), end_time=at(18))
    answer = (await lighting.as_(LEDGER).ComputeEnergy(request)).energies
    first, second = (changed - NOON).total_seconds() / 3600, (remade - NOON).total_seconds() / 3600
    expected_wh = (first - 6) * 22.8 + (second - first) * 80 + (18 - second) * 100
    assert answer.energies_mwh[0] == pytest.approx(expected_wh * 1000, abs=2)
    assert answer.energies_mwh[1] == pytest.approx(12 * 22_800, abs=2)
    assert list(answer.known_seconds) == [12 * 3600] * 4
    # An evening before the change is as it was, whatever was changed since.
    early = pb.ComputeEnergyRequest(parent=T, start_time=at(6), end_time=at(9))
    assert (await lighting.as_(LEDGER).ComputeEnergy(early)).energies.energies_mwh[0] == 3 * 22_800


async def test_energy_of_a_cabinet_is_that_of_the_time_when_lamps_hung_on_it(light: Lighting):
    names = await light.street(1)
    await light.street(2)
    await light.put_plan(*NIGHT)
    await light.known()
    await light.to(10)
    moved = light.clock.now()
    await light.planner.UpdateLuminaire(
        pb.UpdateLuminaireRequest(
            luminaire=inv.Luminaire(name=names[0], feeder=f"{T}/feeders/F-2"), update_mask=FieldMask(paths=["feeder"])
        )
    )
    await light.known()
    await light.to(19)
    hours = (moved - NOON).total_seconds() / 3600

    async def of(cabinet: str) -> dict[str, int]:
        request = pb.ComputeEnergyRequest(
            parent=T, cabinets=[f"{T}/cabinets/{cabinet}"], start_time=at(6), end_time=at(18)
        )
        found = (await light.as_(LEDGER).ComputeEnergy(request)).energies
        return dict(zip(found.names, found.energies_mwh, strict=True))

    first, second = await of("C-1"), await of("C-2")
    assert first[names[0]] == pytest.approx((hours - 6) * 22_800, abs=2)
    assert len(second) == 5
    assert second[names[0]] + first[names[0]] == pytest.approx(12 * 22_800, abs=400)  # dark for a moment as it moves


CURVES = [PowerCurve(((1000, 1000),), watts, 0.3) for watts in (20.0, 40.0, 80.0)]


@settings(deadline=None)
@given(
    levels=st.lists(st.tuples(st.integers(0, 99), st.sampled_from([-1, 0, 500, 1000])), min_size=1, max_size=8),
    versions=st.lists(st.tuples(st.integers(0, 99), st.sampled_from([None, 0, 1, 2])), max_size=6),
)
def test_split_energy_is_the_sum_over_the_parts(levels: list[tuple[int, int]], versions: list[tuple[int, int | None]]):
    by_instant = dict(sorted(levels))
    changes = LevelChanges(
        np.zeros(len(by_instant), dtype=np.int64), np.array([a * 1000 for a in by_instant], dtype=np.int64),
        np.array(list(by_instant.values()), dtype=np.int16), np.ones(len(by_instant), dtype=np.bool_),
    )  # fmt: skip
    steps = dict(sorted(versions, key=lambda step: step[0]))
    timeline = tuple(
        DrawnSince(a * 1000, None if kind is None else Drawn(CURVES[kind], False)) for a, kind in steps.items()
    )
    found = energies(changes, [timeline], 0, 100_000)
    weighted = known = 0.0
    for second in range(100):
        level = next((by_instant[a] for a in sorted(by_instant, reverse=True) if a <= second), -1)
        kind = next((steps[a] for a in sorted(steps, reverse=True) if a <= second), None)
        if level != -1 and kind is not None:
            weighted += float(CURVES[kind].power_w(level)) / 3.6
            known += 1
    assert found.energy_mwh[0] == pytest.approx(weighted, abs=0.6)
    assert found.known_s[0] == known


def test_the_evidence_of_what_did_not_change_is_what_it_was_before_there_were_versions():
    zero = np.zeros(1, dtype=np.int64)
    changes = LevelChanges(zero, zero, np.zeros(1, dtype=np.int16), np.zeros(1, dtype=np.bool_))
    one = Drawn(CURVES[0], False)
    plain = evidence_hash(["a"], [one], changes, 0, 10)
    assert plain == evidence_hash(["a"], [one], changes, 0, 10)
    assert plain != evidence_hash(["a"], [(DrawnSince(0, one), DrawnSince(5, Drawn(CURVES[1], False)))], changes, 0, 10)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_what_stood_before_there_were_versions_has_a_first_one(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
):
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path}/old.db"
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.create_database()
        request.addfinalizer(lambda: server.drop_database(url))
    opened = Database(url, "lighting", pool_size=2)
    older = tmp_path / "migrations" / "versions"
    older.mkdir(parents=True)
    for file in (Path(MIGRATIONS) / "versions").glob("000[1-3]_*.py"):
        shutil.copy(file, older)
    await opened.migrate(older.parent)

    def seed(session) -> None:
        table = sa.table(
            "plan_group",
            *map(
                sa.column,
                ("uid", "municipality_uid", "id", "version", "created_at_ms", "deleted_at_ms", "display_name"),
            ),
        )
        common = {"municipality_uid": HERSFELD.uid, "created_at_ms": 1000}
        session.connection().execute(
            sa.insert(table),
            [
                {**common, "uid": "a", "id": "stands", "version": 4, "deleted_at_ms": 0, "display_name": "Stands"},
                {**common, "uid": "b", "id": "gone", "version": 2, "deleted_at_ms": 5000, "display_name": "Gone"},
            ],
        )

    await opened.run(seed)
    await opened.migrate(MIGRATIONS)

    async def groups(at_ms: int) -> list[tuple[str, str]]:
        rows = await opened.read(lambda session: rows_at(session, GroupRow, HERSFELD.uid, at_ms))
        return [(row.id, row.display_name) for row in rows]

    assert await groups(999) == []
    assert await groups(1000) == [("gone", "Gone"), ("stands", "Stands")]
    assert await groups(5000) == [("stands", "Stands")]
    await opened.close()


async def test_who_changed_what_and_why_is_listed_the_newest_first(lighting: Lighting):
    names = await lighting.street(lamps=1)
    await lighting.clock.advance(timedelta(seconds=2))
    await lighting.planner.UpdateLuminaire(
        pb.UpdateLuminaireRequest(
            luminaire=inv.Luminaire(name=names[0], pole="17", position=Position(latitude_deg=50.9, longitude_deg=9.7)),
            update_mask=FieldMask(paths=["pole", "position"]), reason="measured anew",
        )
    )  # fmt: skip
    await lighting.clock.advance(timedelta(seconds=2))
    report = await lighting.import_lines(
        subject="admin", luminaire_ids=["L-1-0"], poles=["18"], reductions=[inv.REDUCTION_NONE], reason="list of May"
    )
    assert report.updated == 1
    await lighting.clock.advance(timedelta(seconds=2))
    await lighting.planner.DeleteLuminaire(pb.DeleteLuminaireRequest(name=names[0], reason="pole removed"))

    auditor = lighting.as_("auditor")
    found = await auditor.ListInventoryVersions(pb.ListInventoryVersionsRequest(parent=T, resource=names[0]))
    assert [(v.version, v.author, v.reason, list(v.changed_fields), v.deleted) for v in found.versions] == [
        (4, "planner", "pole removed", [], True), (3, "admin", "list of May", ["pole", "reduction"], False),
        (2, "planner", "measured anew", ["pole", "position"], False), (1, "planner", "", [], False),
    ]  # fmt: skip
    assert found.versions[2].request_id in {record.request_id for record in await lighting.trail(names[0])}
    assert len({v.uid for v in found.versions}) == 1

    everything = await auditor.ListInventoryVersions(pb.ListInventoryVersionsRequest(parent=T))
    kinds = {v.resource.split("/")[2] for v in everything.versions}
    assert kinds == {"cabinets", "feeders", "gateways", "luminaireModels", "groups", "luminaires"}
    paged, token = [], ""
    while True:
        part = await auditor.ListInventoryVersions(
            pb.ListInventoryVersionsRequest(parent=T, page_size=3, page_token=token)
        )
        paged += part.versions
        token = part.next_page_token
        if not token:
            break
    assert paged == list(everything.versions)
    since = everything.versions[1].from_time
    late = await auditor.ListInventoryVersions(pb.ListInventoryVersionsRequest(parent=T, start_time=since))
    early = await auditor.ListInventoryVersions(pb.ListInventoryVersionsRequest(parent=T, end_time=since))
    assert [*late.versions, *early.versions] == paged
    assert len(late.versions) == 2


async def test_a_sensor_has_versions_too(light: Lighting):
    sensor = sensors_pb2.Sensor(kind=types_pb2.SENSOR_KIND_RAIN)
    made = await light.planner.CreateSensor(sensors_pb2.CreateSensorRequest(parent=T, sensor_id="R-1", sensor=sensor))
    await light.clock.advance(timedelta(seconds=2))
    made.display_name = "On the roof"
    await light.planner.UpdateSensor(sensors_pb2.UpdateSensorRequest(sensor=made, reason="moved"))
    request = pb.ListInventoryVersionsRequest(parent=T, resource=made.name)
    found = await light.planner.ListInventoryVersions(request)
    assert [(list(v.changed_fields), v.reason) for v in found.versions] == [(["display_name"], "moved"), ([], "")]


async def test_versions_are_for_who_plans_operates_or_audits_and_of_what_has_some(light: Lighting):
    await light.street(lamps=1)
    for subject in ("viewer", FITTER):
        with pytest.raises(NotPermitted):
            await light.as_(subject).ListInventoryVersions(pb.ListInventoryVersionsRequest(parent=T))
    for values, field in (
        ({"resource": f"{T}/overrides/x"}, "resource"), ({"resource": "x"}, "resource"),
        ({"start_time": at(2), "end_time": at(1)}, "end_time"),
    ):  # fmt: skip
        with pytest.raises(InvalidInput) as caught:
            await light.planner.ListInventoryVersions(pb.ListInventoryVersionsRequest(parent=T, **values))
        assert [violation.field for violation in caught.value.violations] == [field]
    none = await light.planner.ListInventoryVersions(
        pb.ListInventoryVersionsRequest(parent=T, resource=f"{T}/luminaires/none")
    )
    assert not none.versions
