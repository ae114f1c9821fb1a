"""Real inventories and bad input through the command and the real services: taken, or refused with nothing lost."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from openpyxl import Workbook

from cli.demo.seed import RELEASE, until_answering
from cli.session import Session, all_pages
from domain.errors import InvalidInput, LichtbuchError, NotPermitted
from domain.night import zone
from lichtbuch.lighting.v1 import control_pb2, inventory_pb2, lighting_pb2, lighting_pb2_grpc, sensors_pb2
from lichtbuch.registry.v1 import registry_pb2
from lichtbuch.scheduler.v1 import scheduler_pb2
from lichtbuch.type.v1 import types_pb2
from servicekit.convert import timestamp_to_proto
from services.admin.planning import Planning
from services.admin.preview import outlook_from_proto
from services.admin.profile_text import profile_from_text
from tests.fieldbus.servers import PymodbusServer
from tests.support.town import Town, run_command
from tests.support.warm_command import Done

REAL = Path(os.environ.get("LICHTBUCH_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")) / "streetlights"
TOWNS = {
    "boise": (43.6, -116.2, "America/Boise"),
    "la-palma": (28.66, -17.86, "Atlantic/Canary"),
    "montpellier": (43.61, 3.87, "Europe/Paris"),
    "madrid": (40.47, -3.65, "Europe/Madrid"),
    "wuppertal": (51.27, 7.2, "Europe/Berlin"),
    "neuental": (51.0, 9.22, "Europe/Berlin"),
    "wabern": (51.1, 9.35, "Europe/Berlin"),
}
VIEWER = "u-3f9a1c72"
PLANNER = "u-27d6f0a9"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]
needs_real_data = pytest.mark.skipif(not REAL.is_dir(), reason=f"the real inventories are not at {REAL}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """Registry, lighting and scheduler with seven empty towns, in time-lapse: only the simulator may be used."""
    made = Town.make(tmp_path_factory.mktemp("input"), speed=600)
    made.layout = replace(made.layout, log_level="info")
    async with made:
        made.start("issuer", "registry", "lighting", "scheduler")
        for name in ("registry", "lighting", "scheduler"):
            await made.well(name)
        session = await made.session("admin")
        for key, (latitude, longitude, zone) in TOWNS.items():
            await session.registry.CreateMunicipality(
                registry_pb2.CreateMunicipalityRequest(
                    municipality_id=key,
                    municipality=registry_pb2.Municipality(
                        display_name=key,
                        time_zone=zone,
                        position=types_pb2.Position(latitude_deg=latitude, longitude_deg=longitude),
                    ),
                )
            )
        for subject, role in ((PLANNER, registry_pb2.ROLE_PLANNER), (VIEWER, registry_pb2.ROLE_VIEWER)):
            await session.registry.CreateRoleBinding(
                registry_pb2.CreateRoleBindingRequest(
                    parent="municipalities/neuental",
                    role_binding=registry_pb2.RoleBinding(subject=subject, role=role),
                )
            )

        async def lighting_knows_them() -> bool:
            request = lighting_pb2.ListGroupsRequest(parent="municipalities/wabern")
            try:
                await session.lighting.ListGroups(request)
            except LichtbuchError:
                return False
            return True

        await until_answering("lighting", lighting_knows_them, 120)
        await session.close()
        yield made


async def lichtbuch(town: Town, *arguments: str | Path, user: str = "admin") -> Done:
    """The command."""
    return await run_command(town, user, *map(str, arguments))


async def count(town: Town, municipality: str) -> int:
    """Number of luminaires that lighting has of a town."""
    session = await town.session("admin")
    request = lighting_pb2.ListLuminairesRequest(parent=f"municipalities/{municipality}")
    found = await all_pages(session.lighting.ListLuminaires, request, "luminaires")
    await session.close()
    return len(found)


@needs_real_data
@pytest.mark.parametrize(
    ("file", "municipality", "options", "taken", "refused", "code"),
    [
        ("boise_streetlights.csv", "boise", [], 0, 45, 2),
        ("boise_streetlights.csv", "boise", ["--skip-invalid"], 11_394, 45, 3),
        ("la_palma_alumbrado_2014.csv", "la-palma", [], 17_238, 0, 0),
        ("montpellier_lanternes_2013.csv", "montpellier", ["--map", "luminaire_id=@line"], 29_969, 0, 0),
        ("madrid_hortaleza_uluminosa.csv", "madrid", ["--map", "luminaire_id=@line", "--crs", "EPSG:25830"], 299, 0, 0),
        (
            "wuppertal_belis_record_sample.json", "wuppertal",
            ["--map", "luminaire_id={schaltstelle}-{leuchtennummer}", "--skip-invalid"], 1, 1, 3,
        ),
    ],
)  # fmt: skip
async def test_a_real_inventory_is_taken_in(
    town: Town, file: str, municipality: str, options: list[str], taken: int, refused: int, code: int
) -> None:
    done = await lichtbuch(town, "import", "luminaires", REAL / file, "-m", municipality, *options, "--json")
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-2000:]
    report = json.loads(done.stdout)
    assert report["refused"] == refused
    assert len({item["line"] for item in report["refusals"]}) == refused
    assert report["stored"] == bool(taken)
    assert await count(town, municipality) == taken
    again = await lichtbuch(town, "import", "luminaires", REAL / file, "-m", municipality, *options, "--json")
    # Once stored, the same file changes nothing; while refused, it still says what it would create.
    assert (json.loads(again.stdout)["created"] == 0) == bool(taken)
    assert await count(town, municipality) == taken


async def test_a_dry_run_and_a_refused_line_leave_everything_as_it_was(town: Town, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text("id;lat;lon\nN-1;51,0;9,22\n", encoding="latin-1")
    bad.write_text("id;lat;lon;watt\nN-2;51,0;9,22;70\nN-3;51,0;9,22;70 lm\n", encoding="utf-8")
    before = await count(town, "neuental")
    done = await lichtbuch(town, "import", "luminaires", good, "-m", "neuental", "--dry-run")
    assert done.returncode == 0, done.stderr
    done = await lichtbuch(town, "import", "luminaires", bad, "-m", "neuental")
    assert done.returncode == 2
    assert "is in 'lm', not in W" in done.stdout
    assert await count(town, "neuental") == before


async def test_a_spreadsheet_is_taken_in_and_a_model_that_nobody_knows_is_refused(town: Town, tmp_path: Path) -> None:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["Leuchtennummer", "Rechtswert", "Hochwert", "model"])
    sheet.append(["W-1", 515_400.5, 5_650_300.25, ""])
    sheet.append(["W-2", 515_410.5, 5_650_310.25, "unheard-of"])
    file = tmp_path / "leuchten.xlsx"
    book.save(file)
    done = await lichtbuch(town, "import", "luminaires", file, "-m", "neuental", "--skip-invalid", "--json")
    assert done.returncode == 3, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["created"] == 1
    [refusal] = report["refusals"]
    assert refusal["line"] == 3
    assert "unheard-of" in json.dumps(refusal)


async def test_what_one_town_s_planner_may_do_ends_at_the_town(town: Town) -> None:
    planner = await town.session("planner")
    request = lighting_pb2.CreateCabinetRequest(parent="municipalities/wabern", cabinet=inventory_pb2.Cabinet())
    with pytest.raises(NotPermitted):
        await planner.lighting.CreateCabinet(request)
    with pytest.raises(NotPermitted):
        await planner.lighting.ListLuminaires(lighting_pb2.ListLuminairesRequest(parent="municipalities/wabern"))
    seen = await planner.registry.ListMunicipalities(registry_pb2.ListMunicipalitiesRequest())
    await planner.close()
    assert [item.name for item in seen.municipalities] == ["municipalities/neuental"]


async def test_a_reference_to_another_town_s_lamp_inside_a_request_is_refused_with_its_field(town: Town) -> None:
    admin = await town.session("admin")
    now = await current(admin)
    override = control_pb2.Override(
        targets=["municipalities/neuental/luminaires/N-1", "municipalities/wabern/luminaires/X"],
        level_permille=1000,
        expire_time=timestamp_to_proto(now + timedelta(hours=1)),
        reason="test",
    )
    request = lighting_pb2.CreateOverrideRequest(parent="municipalities/neuental", override=override)
    with pytest.raises(InvalidInput) as refused:
        await admin.lighting.CreateOverride(request)
    await admin.close()
    assert [violation.field for violation in refused.value.violations] == ["override.targets[1]"]


async def current(session: Session) -> Any:
    """The town's time."""
    from datetime import UTC

    request = lighting_pb2.QueryLuminaireStatesRequest(parent="municipalities/neuental")
    return (await session.lighting.QueryLuminaireStates(request)).at.ToDatetime(tzinfo=UTC)


async def test_an_override_without_an_end_is_refused(town: Town) -> None:
    admin = await town.session("admin")
    override = control_pb2.Override(targets=["municipalities/neuental"], level_permille=1000, reason="for ever")
    with pytest.raises(InvalidInput) as refused:
        await admin.lighting.CreateOverride(
            lighting_pb2.CreateOverrideRequest(parent="municipalities/neuental", override=override)
        )
    await admin.close()
    assert "override.expire_time" in [violation.field for violation in refused.value.violations]


async def test_a_profile_with_overlapping_points_is_refused_with_the_first_night(town: Town) -> None:
    admin = await town.session("admin")
    points = [
        scheduler_pb2.SwitchPoint(anchor=scheduler_pb2.ANCHOR_SUNSET, level_permille=1000),
        scheduler_pb2.SwitchPoint(anchor=scheduler_pb2.ANCHOR_CLOCK, clock_time="21:00", level_permille=500),
        scheduler_pb2.SwitchPoint(anchor=scheduler_pb2.ANCHOR_SUNRISE, level_permille=0),
    ]
    with pytest.raises(InvalidInput) as refused:
        await admin.scheduler.CreateProfile(
            scheduler_pb2.CreateProfileRequest(
                parent="municipalities/neuental", profile_id="early", profile=scheduler_pb2.Profile(points=points)
            )
        )
    await admin.close()
    [violation] = refused.value.violations
    assert violation.field == "profile.points[1]"
    assert "in the night of 20" in violation.reason


async def test_a_deadline_of_a_millisecond_ends_in_deadline_exceeded_and_changes_nothing(town: Town) -> None:
    admin = await town.session("admin")
    request = lighting_pb2.CreateCabinetRequest(
        parent="municipalities/neuental", cabinet_id="C-hasty", cabinet=inventory_pb2.Cabinet(display_name="hasty")
    )
    async with grpc.aio.insecure_channel(town.layout.address("lighting")) as channel:
        stub = lighting_pb2_grpc.LightingServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await stub.CreateCabinet(request, timeout=0.001, metadata=(("authorization", f"Bearer {admin.token}"),))
    assert ended.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    listed = await admin.lighting.ListCabinets(lighting_pb2.ListCabinetsRequest(parent="municipalities/neuental"))
    await admin.close()
    assert [item.name for item in listed.cabinets] == []


async def test_a_message_of_50_megabytes_is_refused_and_the_service_lives_on(town: Town) -> None:
    admin = await town.session("admin")
    columns = inventory_pb2.LuminaireColumns(luminaire_ids=["x" * 1000] * 50_000)
    request = lighting_pb2.ImportLuminairesRequest(columns=columns)
    async with grpc.aio.insecure_channel(
        town.layout.address("lighting"), options=[("grpc.max_send_message_length", -1)]
    ) as channel:
        stub = lighting_pb2_grpc.LightingServiceStub(channel)
        metadata = (("authorization", f"Bearer {admin.token}"),)

        async def requests() -> AsyncIterator[lighting_pb2.ImportLuminairesRequest]:
            yield request

        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await stub.ImportLuminaires(requests(), metadata=metadata, timeout=60)
    await admin.close()
    assert ended.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    await town.well("lighting")


async def test_a_time_lapse_touches_no_endpoint_that_is_not_the_simulator(town: Town) -> None:
    # A real Modbus server that is somebody's, not the simulator: it says so when it is asked who it is.
    server = PymodbusServer({1: {"coil": {0: [0] * 8}, "discrete": {0: [0] * 32}, "input": {0: [2] + [0] * 20}}})
    await server.start()
    admin = await town.session("admin")
    parent = "municipalities/wabern"
    await admin.registry.CreateEndpoint(
        registry_pb2.CreateEndpointRequest(
            parent=parent,
            endpoint_id="real-plc",
            endpoint=registry_pb2.Endpoint(
                url=server.url, profile="cabinet-plc", owner=registry_pb2.ENDPOINT_OWNER_LIGHTING
            ),
        )
    )
    for state in RELEASE:
        await admin.registry.TransitionEndpoint(
            registry_pb2.TransitionEndpointRequest(name=f"{parent}/endpoints/real-plc", state=state, reason="test")
        )
    cabinet = inventory_pb2.Cabinet(
        controller=f"{parent}/endpoints/real-plc", switching_owner=inventory_pb2.SWITCHING_OWNER_LICHTBUCH
    )
    await admin.lighting.CreateCabinet(
        lighting_pb2.CreateCabinetRequest(parent=parent, cabinet_id="C-real", cabinet=cabinet)
    )
    await admin.lighting.CreateFeeder(
        lighting_pb2.CreateFeederRequest(
            parent=parent,
            feeder_id="C-real-F1",
            feeder=inventory_pb2.Feeder(
                cabinet=f"{parent}/cabinets/C-real", supply=inventory_pb2.FEEDER_SUPPLY_SWITCHED
            ),
        )
    )
    await admin.lighting.CreateLuminaire(
        lighting_pb2.CreateLuminaireRequest(
            parent=parent,
            luminaire_id="X-1",
            luminaire=inventory_pb2.Luminaire(feeder=f"{parent}/feeders/C-real-F1"),
        )
    )
    override = control_pb2.Override(
        targets=[parent],
        level_permille=1000,
        expire_time=timestamp_to_proto(await current(admin) + timedelta(days=20)),
        reason="asks for light at once",
    )
    await admin.lighting.CreateOverride(lighting_pb2.CreateOverrideRequest(parent=parent, override=override))

    async def refused() -> bool:
        return "simulator" in town.log("lighting").lower()

    await town.eventually("lighting says that the endpoint is not the simulator", refused)
    states = await admin.lighting.ListCabinetStates(lighting_pb2.ListCabinetStatesRequest(parent=parent))
    await admin.close()
    assert [state.quality for state in states.states] == [types_pb2.QUALITY_MISSING]
    assert not server.bit(1, "coil", 0)
    await server.stop()


async def test_what_the_web_ui_asks_and_does_is_understood_by_the_real_services(town: Town) -> None:
    parent = "municipalities/neuental"
    planner, viewer = [Planning(parent, await town.session(user)) for user in ("planner", "viewer")]  # type: ignore[arg-type]
    for person, may in ((planner, True), (viewer, False)):
        questions = (person.may_identify, person.may_waive, person.may_edit_sensors, person.may_report, person.may_plan)
        assert [await question() for question in questions] == [may] * 5
    assert (await viewer.waivers(), await viewer.sensors(), await viewer.unprotected()) == ((), (), ())

    await planner.save_sensor(sensors_pb2.Sensor(kind=types_pb2.SENSOR_KIND_TRAFFIC), "counter", "request-1")
    [made] = await viewer.sensors()
    changed = sensors_pb2.Sensor(name=made.name, etag=made.etag, kind=types_pb2.SENSOR_KIND_TRAFFIC, max_age_s=86_400)
    await planner.save_sensor(changed, "", "")
    assert await planner.report_value(made.name, 77.5)
    [said] = await viewer.sensors()
    assert (said.max_age_s, said.value, said.fresh) == (86_400, 77.5, True)

    text = '[[points]]\nanchor = "sunset"\nlevel = 50\n[[points]]\nanchor = "sunrise"\nlevel = 0\n'
    profile = profile_from_text(text, parent)
    request = scheduler_pb2.PreviewProfileRequest(profile=profile, nights=2)
    request.first_night.CopyFrom(types_pb2.Date(year=2026, month=12, day=21))
    outlook = outlook_from_proto(request, await viewer.preview(request), zone("Europe/Berlin"))
    assert [level for level, _ in outlook.levels] == [500]
    stored = await planner.save_profile(profile, "half", "request-2")
    assert [each.name for each in await viewer.profiles()] == [stored.name]
