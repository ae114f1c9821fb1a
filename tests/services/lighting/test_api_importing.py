"""A whole inventory over gRPC: all or nothing, or what is right of it, with every refusal named."""

from typing import Any

import pytest

from domain.errors import InvalidInput, NotPermitted
from lichtbuch.lighting.v1 import inventory_pb2 as inv
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from tests.services.lighting.running import OTHER, Lighting, T


async def count(lighting: Lighting) -> int:
    answer = await lighting.as_("viewer").ListLuminaires(pb.ListLuminairesRequest(parent=T, page_size=10_000))
    return len(answer.luminaires)


async def test_a_second_import_updates_what_differs_and_leaves_the_rest(lighting: Lighting):
    await lighting.street()
    ids = [f"L-1-{n}" for n in range(4)] + ["N-1"]
    report = await lighting.import_lines(luminaire_ids=ids, floors_permille=[400, 400, 500, 400, 600], poles=[""] * 5)
    assert (report.created, report.updated, report.unchanged, report.committed) == (1, 1, 3, True)
    changed = await lighting.planner.GetLuminaire(pb.GetLuminaireRequest(name=f"{T}/luminaires/L-1-2"))
    assert (changed.floor_permille, changed.gateway) == (500, f"{T}/gateways/G-1")  # what was not given stays


async def test_by_default_one_wrong_line_keeps_the_whole_inventory_out(lighting: Lighting):
    await lighting.street()
    report = await lighting.import_lines(
        luminaire_ids=["A", "B", "C"], source_lines=[2, 3, 4], floors_permille=[400, 4000, 500], model_ids=["", "", "X"]
    )
    assert not report.committed
    assert [(r.source_line, r.column) for r in report.refused_lines] == [(3, "floor_permille"), (4, "model")]
    assert report.refused_lines[0].value == "4000"
    assert await count(lighting) == 4


async def test_skip_invalid_takes_the_rest_and_a_dry_run_takes_nothing(lighting: Lighting):
    lines: dict[str, Any] = {"luminaire_ids": ["A", "B"], "floors_permille": [400, 4000]}
    dry = await lighting.import_lines(**lines, skip_invalid=True, dry_run=True)
    assert (dry.created, dry.refused, dry.committed) == (1, 1, False)
    assert await count(lighting) == 0
    taken = await lighting.import_lines(**lines, skip_invalid=True)
    assert (taken.created, taken.refused, taken.committed) == (1, 1, True)
    assert await count(lighting) == 1


async def test_lines_that_the_client_refused_while_reading_count_like_ours(lighting: Lighting):
    report = await lighting.import_lines(luminaire_ids=["A"], refused_by_reader=2)
    assert not report.committed
    assert (await lighting.import_lines(luminaire_ids=["A"], refused_by_reader=2, skip_invalid=True)).committed


async def test_two_luminaires_may_swap_their_addresses(lighting: Lighting):
    await lighting.street()
    report = await lighting.import_lines(
        luminaire_ids=["L-1-0", "L-1-1"], gateway_ids=["G-1", "G-1"], gateway_addresses=[1, 0]
    )
    assert (report.updated, report.committed) == (2, True)
    clash = await lighting.import_lines(luminaire_ids=["N"], gateway_ids=["G-1"], gateway_addresses=[1])
    assert "address of luminaire L-1-0 already" in clash.refused_lines[0].reason


async def test_unknown_groups_are_made_and_members_inherit_their_plan(lighting: Lighting):
    report = await lighting.import_lines(luminaire_ids=["A", "B"], group_ids=["ring", ""])
    assert report.committed
    groups = await lighting.as_("viewer").ListGroups(pb.ListGroupsRequest(parent=T))
    assert [(g.name, g.luminaire_count) for g in groups.groups] == [
        (f"{T}/groups/default", 1), (f"{T}/groups/ring", 1),
    ]  # fmt: skip


async def test_the_same_request_id_answers_the_first_report(light: Lighting):
    first = await light.import_lines(luminaire_ids=["A"], request_id="i-1")
    again = await light.import_lines(luminaire_ids=["A"], request_id="i-1")
    assert (first.created, again) == (1, first)


async def test_the_same_request_id_with_other_lines_is_refused(light: Lighting):
    await light.import_lines(luminaire_ids=["A"], request_id="i-1")
    with pytest.raises(InvalidInput, match="request_id"):
        await light.import_lines(luminaire_ids=["A", "B"], request_id="i-1")


async def test_a_stream_that_is_no_import_is_refused(light: Lighting):
    settings = pb.ImportLuminairesRequest(settings=pb.ImportSettings(parent=T))
    columns = pb.ImportLuminairesRequest(columns=inv.LuminaireColumns(luminaire_ids=["A"]))
    longer = pb.ImportLuminairesRequest(columns=inv.LuminaireColumns(luminaire_ids=["B"], poles=["1", "2"]))
    for messages, reason in (
        ([columns], "settings"),
        ([settings, settings], "every message after the first"),
        ([settings, columns, longer], "columns.poles"),
        ([], "says what|first message"),
    ):
        with pytest.raises(InvalidInput, match=reason):
            await light.send_import(messages)
    foreign = pb.ImportLuminairesRequest(settings=pb.ImportSettings(parent=OTHER))
    with pytest.raises(NotPermitted):
        await light.send_import([foreign, columns])
    assert await count(light) == 0


async def test_thirty_thousand_luminaires_arrive_in_one_transaction(light: Lighting):
    number = 30_000
    settings = pb.ImportLuminairesRequest(settings=pb.ImportSettings(parent=T))
    messages = [settings]
    for begin in range(0, number, 5_000):
        ids = [f"M-{n:05d}" for n in range(begin, begin + 5_000)]
        messages.append(
            pb.ImportLuminairesRequest(
                columns=inv.LuminaireColumns(
                    luminaire_ids=ids, source_lines=range(begin + 2, begin + 5_002),
                    latitudes_deg=[43.6 + n / 1e6 for n in range(5_000)], longitudes_deg=[3.9] * 5_000,
                    streets=["Rue Foch"] * 5_000, installed_powers_w=[float("nan")] * 5_000,
                )
            )
        )  # fmt: skip
    report = await light.send_import(messages)
    assert (report.created, report.committed) == (number, True)
