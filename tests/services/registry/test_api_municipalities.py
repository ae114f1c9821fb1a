"""Municipalities and unions over gRPC: who may make them, see them and change them."""

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from domain.errors import AlreadyExists, Conflict, InvalidInput, NotAuthenticated, NotFound, NotPermitted
from domain.names import is_uid
from lichtbuch.registry.v1 import registry_pb2 as pb
from lichtbuch.type.v1.types_pb2 import Position
from tests.services.registry.helpers import ON_ONE_DATABASE, ROOT, Registry

PLACE = Position(latitude_deg=50.868, longitude_deg=9.707)


def creation(identifier: str = "bad-hersfeld", request_id: str = "", **values: object) -> pb.CreateMunicipalityRequest:
    given = {"display_name": "Bad Hersfeld", "position": PLACE, **values}
    return pb.CreateMunicipalityRequest(
        municipality_id=identifier,
        municipality=pb.Municipality(**given),  # type: ignore[arg-type]
        request_id=request_id,
    )


async def test_a_new_municipality_gets_uid_time_zone_and_etag(registry: Registry) -> None:
    created = await registry.root.CreateMunicipality(creation(synthetic=True))
    assert created.name == "municipalities/bad-hersfeld"
    assert is_uid(created.uid)
    assert created.time_zone == "Europe/Berlin"
    assert created.etag
    assert created.synthetic
    assert created.HasField("created_at")
    assert await registry.root.GetMunicipality(pb.GetMunicipalityRequest(name=created.name)) == created


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (creation("Bad Hersfeld"), "municipality_id"),
        (creation(""), "municipality_id"),
        (creation(display_name=""), "municipality.display_name"),
        (creation(display_name="  "), "municipality.display_name"),
        (creation(time_zone="Mars/Base"), "municipality.time_zone"),
        (creation(position=None), "municipality.position"),
        (creation(position=Position(latitude_deg=95)), "municipality.position.latitude_deg"),
        (creation(position=Position(latitude_deg=float("nan"))), "municipality.position.latitude_deg"),
    ],
)
async def test_a_wrong_municipality_is_refused_with_its_field(
    registry: Registry, request_: pb.CreateMunicipalityRequest, field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await registry.root.CreateMunicipality(request_)
    assert [violation.field for violation in caught.value.violations] == [field]
    assert not (await registry.root.ListMunicipalities(pb.ListMunicipalitiesRequest())).municipalities


async def test_an_id_is_taken_once(registry: Registry) -> None:
    await registry.root.CreateMunicipality(creation())
    with pytest.raises(AlreadyExists):
        await registry.root.CreateMunicipality(creation())


async def test_the_same_request_id_answers_the_first_result(registry: Registry) -> None:
    first = await registry.root.CreateMunicipality(creation(request_id="r-1"))
    assert await registry.root.CreateMunicipality(creation(request_id="r-1")) == first
    with pytest.raises(InvalidInput) as caught:
        await registry.root.CreateMunicipality(creation(request_id="r-1", display_name="Elsewhere"))
    assert caught.value.violations[0].field == "request_id"
    assert len(await registry.audit_trail(ROOT, first.name)) == 1


async def test_only_an_administrator_of_everything_makes_one(registry: Registry) -> None:
    await registry.town("borken")
    await registry.bind("u-mayor", "admin", "borken")
    await registry.bind("u-auditor", "auditor", "-")
    for subject in ("u-mayor", "u-auditor", "u-nobody", "service:ledger"):
        with pytest.raises(NotPermitted):
            await registry.as_(subject).CreateMunicipality(creation())


async def test_without_a_token_nothing_is_shown(registry: Registry) -> None:
    with pytest.raises(NotAuthenticated):
        await registry.as_nobody().ListMunicipalities(pb.ListMunicipalitiesRequest())


async def test_each_sees_their_own_municipalities(registry: Registry) -> None:
    for name in ("felsberg", "borken", "knuellwald"):
        await registry.town(name)
    await registry.bind("u-one", "viewer", "borken")
    await registry.bind("u-two", "operator", "borken")
    await registry.bind("u-two", "planner", "felsberg")
    await registry.bind("u-all", "viewer", "-")

    async def seen_by(subject: str) -> list[str]:
        answer = await registry.as_(subject).ListMunicipalities(pb.ListMunicipalitiesRequest())
        return [municipality.name.removeprefix("municipalities/") for municipality in answer.municipalities]

    assert await seen_by("u-one") == ["borken"]
    assert await seen_by("u-two") == ["borken", "felsberg"]
    assert await seen_by("u-all") == ["borken", "felsberg", "knuellwald"]
    assert await seen_by("service:scheduler") == ["borken", "felsberg", "knuellwald"]
    with pytest.raises(NotPermitted):
        await seen_by("u-nobody")


async def test_another_municipality_is_neither_shown_nor_betrayed(registry: Registry) -> None:
    await registry.town("borken")
    await registry.town("felsberg")
    await registry.bind("u-one", "admin", "borken")
    for name in ("municipalities/felsberg", "municipalities/nowhere"):
        with pytest.raises(NotPermitted):
            await registry.as_("u-one").GetMunicipality(pb.GetMunicipalityRequest(name=name))
    with pytest.raises(NotFound):
        await registry.root.GetMunicipality(pb.GetMunicipalityRequest(name="municipalities/nowhere"))


async def test_pages_follow_each_other(registry: Registry) -> None:
    names = [f"town-{number}" for number in range(5)]
    for name in reversed(names):
        await registry.town(name)
    seen: list[str] = []
    token = ""
    while True:
        page = await registry.root.ListMunicipalities(pb.ListMunicipalitiesRequest(page_size=2, page_token=token))
        assert len(page.municipalities) <= 2
        seen += [municipality.name.removeprefix("municipalities/") for municipality in page.municipalities]
        token = page.next_page_token
        if not token:
            break
    assert seen == names
    with pytest.raises(InvalidInput) as caught:
        await registry.root.ListMunicipalities(pb.ListMunicipalitiesRequest(page_token="made-up"))
    assert caught.value.violations[0].field == "page_token"


async def test_an_update_changes_what_the_mask_names(registry: Registry) -> None:
    before = await registry.town("borken", time_zone="Europe/Vienna")
    await registry.bind("u-mayor", "admin", "borken")
    after = await registry.as_("u-mayor").UpdateMunicipality(
        pb.UpdateMunicipalityRequest(
            municipality=pb.Municipality(name=before.name, display_name="Borken (Hessen)", time_zone="Mars/Base"),
            update_mask=FieldMask(paths=["display_name"]),
        )
    )
    assert after.display_name == "Borken (Hessen)"
    assert after.time_zone == "Europe/Vienna"
    assert after.uid == before.uid
    assert after.etag != before.etag
    newest, *_ = await registry.audit_trail("u-mayor", before.name)
    assert newest.actor == "u-mayor"
    assert newest.action.endswith("UpdateMunicipality")
    assert "Borken (Hessen)" not in newest.before_json
    assert "Borken (Hessen)" in newest.after_json


async def test_an_update_without_mask_changes_every_field(registry: Registry) -> None:
    before = await registry.town("borken", time_zone="Europe/Vienna")
    after = await registry.root.UpdateMunicipality(
        pb.UpdateMunicipalityRequest(
            municipality=pb.Municipality(name=before.name, display_name="Other", position=PLACE)
        )
    )
    assert (after.display_name, after.time_zone, after.position) == ("Other", "Europe/Berlin", PLACE)


async def test_an_update_of_another_version_is_refused(registry: Registry) -> None:
    before = await registry.town("borken")

    def renaming(etag: str, name: str) -> pb.UpdateMunicipalityRequest:
        return pb.UpdateMunicipalityRequest(
            municipality=pb.Municipality(name=before.name, display_name=name, etag=etag),
            update_mask=FieldMask(paths=["display_name"]),
        )

    await registry.root.UpdateMunicipality(renaming(before.etag, "First"))
    with pytest.raises(Conflict):
        await registry.root.UpdateMunicipality(renaming(before.etag, "Second"))
    current = await registry.root.GetMunicipality(pb.GetMunicipalityRequest(name=before.name))
    assert current.display_name == "First"


async def test_an_update_that_changes_nothing_leaves_no_trace(registry: Registry) -> None:
    before = await registry.town("borken")
    request = pb.UpdateMunicipalityRequest(municipality=before, update_mask=FieldMask(paths=["display_name"]))
    assert (await registry.root.UpdateMunicipality(request)).etag == before.etag
    assert len(await registry.audit_trail(ROOT, before.name)) == 1


async def test_fields_that_cannot_be_changed_are_named(registry: Registry) -> None:
    before = await registry.town("borken")
    request = pb.UpdateMunicipalityRequest(municipality=before, update_mask=FieldMask(paths=["created_at"]))
    with pytest.raises(InvalidInput) as caught:
        await registry.root.UpdateMunicipality(request)
    assert caught.value.violations[0].field == "update_mask.paths[0]"


async def test_a_planner_does_not_change_the_municipality(registry: Registry) -> None:
    before = await registry.town("borken")
    await registry.bind("u-planner", "planner", "borken")
    with pytest.raises(NotPermitted):
        await registry.as_("u-planner").UpdateMunicipality(pb.UpdateMunicipalityRequest(municipality=before))


def union(*members: str, identifier: str = "schwalm-eder-west", request_id: str = "") -> pb.CreateUnionRequest:
    return pb.CreateUnionRequest(
        union_id=identifier,
        municipal_union=pb.Union(
            display_name="Schwalm-Eder-West", municipalities=[f"municipalities/{member}" for member in members]
        ),
        request_id=request_id,
    )


async def test_a_union_is_seen_by_who_sees_every_member(registry: Registry) -> None:
    for name in ("borken", "felsberg"):
        await registry.town(name)
    created = await registry.root.CreateUnion(union("felsberg", "borken", request_id="u-1"))
    assert await registry.root.CreateUnion(union("felsberg", "borken", request_id="u-1")) == created
    assert created.name == "unions/schwalm-eder-west"
    assert list(created.municipalities) == ["municipalities/borken", "municipalities/felsberg"]
    await registry.bind("u-one", "viewer", "borken")
    await registry.bind("u-both", "viewer", "borken")
    await registry.bind("u-both", "auditor", "felsberg")
    seen = {
        subject: list((await registry.as_(subject).ListUnions(pb.ListUnionsRequest())).unions)
        for subject in ("u-one", "u-both")
    }
    assert seen == {"u-one": [], "u-both": [created]}
    for member in created.municipalities:
        assert [record.actor for record in await registry.audit_trail(ROOT, member, created.name)] == [ROOT]


async def test_a_union_needs_an_administrator_of_every_member(registry: Registry) -> None:
    for name in ("borken", "felsberg"):
        await registry.town(name)
        await registry.bind("u-both", "admin", name)
    await registry.bind("u-one", "admin", "borken")
    with pytest.raises(NotPermitted):
        await registry.as_("u-one").CreateUnion(union("borken", "felsberg"))
    assert (await registry.as_("u-both").CreateUnion(union("borken", "felsberg"))).uid


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    ("members", "field"),
    [
        ((), "municipal_union.municipalities"),
        (("borken", "borken"), "municipal_union.municipalities[1]"),
        (("borken", "nowhere"), "municipal_union.municipalities"),
        (("borken", "-"), "municipal_union.municipalities[1]"),
    ],
)
async def test_a_wrong_union_is_refused(registry: Registry, members: tuple[str, ...], field: str) -> None:
    await registry.town("borken")
    with pytest.raises(InvalidInput) as caught:
        await registry.root.CreateUnion(union(*members))
    assert caught.value.violations[0].field == field
