"""The demonstration town's magnitudes and the town file's checks."""

import csv
import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from domain.errors import InvalidInput
from simulator.demo import DemoSize, demo_town
from simulator.inventory_csv import write_inventory
from simulator.town import HALF_NIGHT, Town, town_from_json, town_to_json
from simulator.town_check import check_town, load_town


def test_the_full_town_has_the_published_magnitudes_and_says_that_it_is_synthetic() -> None:
    town = demo_town()
    assert town.synthetic
    assert "synthetic" in town.name
    assert "invented" in town.description
    assert (len(town.luminaires), len(town.cabinets)) == (5_300, 100)
    assert sum(1 for m in town.meters if m.cabinet) == 22
    assert len(town.buildings) == 3
    assert len(town.light_sensors) == 1


def test_the_previous_operation_used_about_what_the_town_published_for_2015() -> None:
    town = demo_town()
    # Hours of a year at 51 degrees north: sunset to sunrise about 4 200 h, dusk to 22:30 about 1 240 h.
    kwh = sum(
        (lamp.previous.lamp_w + lamp.previous.ballast_w)
        * (1_240 if lamp.previous.regime == HALF_NIGHT else 4_200)
        / 1000
        for lamp in town.luminaires
    )
    assert kwh == pytest.approx(1_950_000, rel=0.06)


def test_no_gateway_has_more_gears_than_a_dali_line_and_all_kinds_of_gateway_occur() -> None:
    town = demo_town()
    assert max(Counter(lamp.gateway for lamp in town.luminaires).values()) <= 64
    kinds = Counter(e.profile for e in town.endpoints)
    assert kinds["intesis-dali"] > kinds["arlight-dali"] > kinds["opcua-lamp"] > 0


def test_the_same_seed_gives_the_same_town_and_another_seed_another() -> None:
    size = DemoSize(luminaires=40, cabinets=3, monitored=2, seed=5)
    assert demo_town(size) == demo_town(size)
    assert demo_town(size) != demo_town(dataclasses.replace(size, seed=6))


def test_every_feeder_of_a_town_belongs_to_a_cabinet_and_both_kinds_of_supply_occur() -> None:
    town = demo_town(DemoSize(luminaires=40, cabinets=3, monitored=2))
    assert {f.supply for f in town.feeders} == {"switched", "permanent"}
    assert {lamp.feeder for lamp in town.luminaires} <= {f.id for f in town.feeders}


@pytest.mark.parametrize("wrong", [{"cabinets": 0}, {"luminaires": 6_500}, {"monitored": 101}, {"buildings": 4}])
def test_impossible_sizes_are_refused_by_name(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidInput) as caught:
        DemoSize(**wrong)
    assert next(iter(wrong)) in str(caught.value)


@pytest.fixture
def small() -> Town:
    return demo_town(DemoSize(luminaires=12, cabinets=2, monitored=1))


def test_a_town_survives_the_way_through_json(small: Town, tmp_path: Path) -> None:
    path = tmp_path / "town.json"
    path.write_text(json.dumps(town_to_json(small)), encoding="utf-8")
    assert load_town(path) == small


def broken(town: Town, change: Any) -> InvalidInput:
    document = json.loads(json.dumps(town_to_json(town)))
    change(document)
    with pytest.raises(InvalidInput) as caught:
        town_from_json(document)
    return caught.value


def test_a_town_file_with_errors_names_every_field(small: Town) -> None:
    def change(document: dict[str, Any]) -> None:
        del document["cabinets"][0]["controller"]
        document["luminaires"][3]["gear"] = "seven"
        document["colour"] = "blue"

    fields = {v.field for v in broken(small, change).violations}
    assert {"town.cabinets[0].controller", "town.luminaires[3].gear", "town.colour"} <= fields


def contradiction(town: Town, change: Any) -> list[str]:
    """What is found in a town file after a change that keeps its form."""
    document = json.loads(json.dumps(town_to_json(town)))
    change(document)
    with pytest.raises(InvalidInput) as caught:
        check_town(town_from_json(document))
    return [str(violation) for violation in caught.value.violations]


WRONG: list[tuple[str, int, str, Any, str]] = [
    ("luminaires", 0, "feeder", "nowhere", "is not among feeders"),
    ("luminaires", 0, "feeder", "C-002-F1", "belongs to another cabinet"),
    ("luminaires", 0, "gateway", "C-001-plc", "is no cabinet's gateway"),
    ("luminaires", 0, "model", "LED-1", "is not among models"),
    ("luminaires", 0, "gear", 1, "is taken by two luminaires"),
    ("luminaires", 0, "gear", 64, "must be 0 to 63"),
    ("luminaires", 0, "line", 2, "on line 0 to 1"),
    ("luminaires", 0, "phase", 4, "must be 1, 2 or 3"),
    ("luminaires", 0, "power_on_permille", 1001, "must be 0 to 1000"),
    ("luminaires", 0, "fade_code", 16, "must be 0 to 15"),
    ("luminaires", 0, "groups", [16], "must be 0 to 15"),
    ("luminaires", 0, "id", "L-0002", "is there twice"),
    ("cabinets", 0, "controller", "C-002-plc", "is used by two devices"),
    ("cabinets", 0, "gateway", "M-001-tcp", "needs an endpoint with profile"),
    ("cabinets", 0, "hand_switch", "up", "must be hand, off or auto"),
    ("feeders", 1, "channel", -1, "must be 0 to 7"),
    ("feeders", 0, "channel", 3, "must be -1 on a permanent feeder"),
    ("feeders", 3, "channel", 0, "has two feeders on channel 0"),
    ("meters", 0, "building", "B-1", "either a cabinet or a building"),
    ("meters", 0, "start_wh", -1, "must not be negative"),
    ("models", 0, "curve", [[500, 600]], "models/LED-14.points"),
    ("models", 0, "rated_w", -1, "models/LED-14.rated_w"),
]


@pytest.mark.parametrize(
    ("collection", "number", "field", "value", "reason"), WRONG, ids=[f"{w[0]}.{w[2]}" for w in WRONG]
)
def test_a_town_that_contradicts_itself_is_refused(
    small: Town, collection: str, number: int, field: str, value: Any, reason: str
) -> None:
    found = contradiction(small, lambda document: document[collection][number].__setitem__(field, value))
    assert any(reason in text for text in found), found


def test_generated_towns_do_not_contradict_themselves(small: Town) -> None:
    check_town(small)
    check_town(demo_town())


def test_a_town_file_of_another_kind_is_refused(small: Town) -> None:
    assert any("schema" in text for text in contradiction(small, lambda document: document.update(schema="other/2")))


def test_a_missing_or_garbled_town_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="absent"):
        load_town(tmp_path / "absent.json")
    (tmp_path / "town.json").write_text("{", encoding="utf-8")
    with pytest.raises(InvalidInput, match="JSON"):
        load_town(tmp_path / "town.json")


def test_the_inventory_csv_has_a_row_per_luminaire(small: Town, tmp_path: Path) -> None:
    path = tmp_path / "inventory.csv"
    assert write_inventory(small, path) == 12
    rows = list(csv.DictReader(path.open(encoding="utf-8")))
    assert [row["id"] for row in rows] == [lamp.id for lamp in small.luminaires]
    assert float(rows[0]["rated_w"]) > 0
