"""A town around the lamps of an inventory: what the file says stays, the rest is plausible and the same each time."""

import math
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import InvalidInput
from simulator.grouping import MOST_CABINETS, MOST_PER_CABINET, cabinets_of
from simulator.inventory_lamps import InventoryLamp, read_lamps
from simulator.inventory_town import InventoryOptions, town_from_inventory
from simulator.town import Town
from tests.simulator.test_process import ANY_PORTS, run, running

HEADER = (
    "luminaire_id,latitude,longitude,street,lighting_class,floor_permille,conflict_area,installed_power_w,"
    "previous_lamp_power_w,previous_ballast_power_w,previous_half_night"
)


def written(path: Path, *lines: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def streets(number: int, lamps: int) -> list[str]:
    """Parallel streets 60 m apart with a lamp every 30 m."""
    return [
        f"L-{street}-{lamp},{50.8 + street * 0.00054:.6f},{9.7 + lamp * 0.0004:.6f},Gasse {street}. Reihe"
        for street in range(number)
        for lamp in range(lamps)
    ]


def made(tmp_path: Path, *lines: str, options: InventoryOptions | None = None) -> Town:
    return town_from_inventory(written(tmp_path / "lamps.csv", *lines), options)


def test_what_the_file_says_of_a_lamp_is_what_the_town_has(tmp_path: Path) -> None:
    town = made(tmp_path, "A.1,50.868,9.707,Am Ufer,M4,700,no,39,150,20,yes", "A.2,50.8681,9.7072,'=Ufer,P5,,yes,14,,,")
    first, second = sorted(town.luminaires, key=lambda lamp: lamp.id)
    assert (first.id, first.latitude, first.longitude, first.street) == ("A.1", 50.868, 9.707, "Am Ufer")
    assert (first.lighting_class, first.lowest_class, first.floor_permille, first.model) == ("M4", "M5", 700, "LED-41")
    assert (first.previous.lamp_w, first.previous.ballast_w, first.previous.regime) == (150.0, 20.0, "half-night")
    assert first.previous.off_local == "22:30"
    assert (second.street, second.crossing, second.floor_permille, second.model) == ("=Ufer", True, 1000, "LED-14")
    assert town.name == "lamps (simulated from an inventory)"
    assert town.synthetic
    assert (len(town.buildings), len(town.light_sensors)) == (0, 1)


def test_what_the_file_does_not_say_is_that_of_a_residential_street(tmp_path: Path) -> None:
    (lamp,) = made(tmp_path, "A,50.868,9.707").luminaires
    assert (lamp.lighting_class, lamp.lowest_class, lamp.floor_permille, lamp.model) == ("P4", "P6", 400, "LED-23")
    assert (lamp.previous.technology, lamp.previous.regime) == ("HME 80", "all-night")


def test_lamps_are_shared_out_street_by_street_and_the_same_in_any_order(tmp_path: Path) -> None:
    lines = streets(12, 25)
    town = made(tmp_path, *lines)
    assert len(town.cabinets) == 6
    shuffled = list(lines)
    Random(7).shuffle(shuffled)
    assert made(tmp_path, *shuffled) == town
    for cabinet in town.cabinets:
        mine = [lamp for lamp in town.luminaires if lamp.cabinet == cabinet.id]
        assert len(mine) <= MOST_PER_CABINET
        assert sorted(lamp.gear for lamp in mine) == list(range(len(mine)))
        assert max(abs(lamp.latitude - cabinet.latitude) * 111_320 for lamp in mine) < 700
    # Each street is parted once, half a kilometre on, and once more where a cabinet ends within it.
    assert len({(lamp.street, lamp.cabinet) for lamp in town.luminaires}) <= 2 * 12 + len(town.cabinets) - 1


def test_a_share_of_the_cabinets_is_metered_or_as_many_as_asked_for(tmp_path: Path) -> None:
    lines = streets(20, 25)
    assert len(made(tmp_path, *lines).meters) == 2
    assert len(made(tmp_path, *lines, options=InventoryOptions(monitored=7)).meters) == 7
    assert len(made(tmp_path, *lines, options=InventoryOptions(monitored=99)).meters) == 10
    with_buildings = made(tmp_path, *lines, options=InventoryOptions(monitored=0, buildings=2))
    assert [meter.building for meter in with_buildings.meters] == ["B-1", "B-2"]


def test_lamps_without_a_position_are_left_out_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(made(tmp_path, "A,50.868,9.707", "B,,", "C,,,Am Ufer").luminaires) == 1
    assert "2 luminaires without position" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["A,95,9.7"], "line 2, column latitude"),
        (["A,50.868,9.7", "B,50.8,nan"], "line 3, column longitude"),
        (["A,50.868,"], "line 2, column longitude: is missing"),
        (["A,50.868,9.7", "A,50.868,9.7"], "line 3, column luminaire_id"),
        (["Am Ufer 3,50.868,9.7"], "line 2, column luminaire_id"),
        ([",50.868,9.7"], "line 2, column luminaire_id: is missing"),
        (["A,50.868,9.7,,Q9"], "line 2, column lighting_class"),
        (["A,50.868,9.7,,,0.5"], "line 2, column floor_permille"),
        (["A,50.868,9.7,,,,perhaps"], "line 2, column conflict_area"),
        (["A,50.868,9.7,,,,,-4"], "line 2, column installed_power_w"),
        (["A,50,868,9,707,,,,,,,,"], "line 2: has"),
        (['A,50.868,9.7,"Am Ufer'], "line 2: is no CSV"),
        (["A,50.868,9.7," + "x" * 201], "line 2, column street"),
        (["A,,"], "holds no luminaire with a position"),
        ([], "holds no luminaire"),
    ],
)
def test_a_malformed_file_is_refused_with_line_and_column(tmp_path: Path, lines: list[str], reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        made(tmp_path, *lines)
    assert reason in "\n".join(map(str, caught.value.violations))


def test_a_file_without_the_columns_or_in_another_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_lamps(written(tmp_path / "a.csv", header="id;lat;lon"))
    assert [v.field for v in caught.value.violations] == [
        f"line 1, column {name}" for name in ("luminaire_id", "latitude", "longitude")
    ]
    (tmp_path / "b.csv").write_bytes(f"{HEADER}\nA,50.8,9.7,Straße\n".encode("latin-1"))
    with pytest.raises(InvalidInput, match="UTF-8"):
        read_lamps(tmp_path / "b.csv")
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_lamps(tmp_path / "absent.csv")


def test_forty_thousand_lamps_are_taken_and_one_more_is_not(tmp_path: Path) -> None:
    lines = [f"L{i},{50 + (i // 200) * 0.0003:.6f},{9 + (i % 200) * 0.0004:.6f}" for i in range(40_001)]
    town = made(tmp_path, *lines[:-1])
    assert len(town.luminaires) == 40_000
    assert 800 <= len(town.cabinets) <= 820
    with pytest.raises(InvalidInput, match="line 40002: is one luminaire too many"):
        made(tmp_path, *lines)


Places = st.lists(st.tuples(st.floats(-90, 90), st.floats(-180, 180), st.sampled_from("ABC")), min_size=1, max_size=120)


@settings(max_examples=50, deadline=None)
@given(Places)
def test_wherever_lamps_stand_each_has_one_cabinet_and_none_has_more_than_fifty(
    places: list[tuple[float, float, str]],
) -> None:
    lamps = [InventoryLamp(f"L{i}", lat, lon, street) for i, (lat, lon, street) in enumerate(places)]
    groups = cabinets_of(lamps)
    assert sorted(lamp.id for group in groups for lamp in group) == sorted(lamp.id for lamp in lamps)
    assert all(1 <= len(group) <= MOST_PER_CABINET for group in groups)


def test_lamps_strewn_over_a_country_do_not_need_a_cabinet_each() -> None:
    lamps = [InventoryLamp(f"L{i}", 47 + i % 50 * 0.1, 6 + i // 50 * 0.1) for i in range(2_500)]
    groups = cabinets_of(lamps)
    assert math.ceil(len(lamps) / MOST_PER_CABINET) <= len(groups) <= MOST_CABINETS


def test_the_process_serves_the_town_of_an_inventory(tmp_path: Path) -> None:
    path = written(tmp_path / "musterdorf.csv", *streets(2, 10))
    with running("--inventory", str(path), "--time-zone", "Europe/Madrid", "--stepped") as client:
        town = client.get("/town").json()
        assert (town["name"], town["time_zone"]) == ("musterdorf (simulated from an inventory)", "Europe/Madrid")
        assert len(town["luminaires"]) == 20
        assert all(endpoint["url"] for endpoint in town["endpoints"])


def test_the_process_ends_with_2_and_the_reason(tmp_path: Path) -> None:
    path = written(tmp_path / "wrong.csv", "A,95,9.7")
    for arguments, reason in (
        (["--inventory", str(path)], "line 2, column latitude"),
        (["--inventory", str(path), "--town", str(path)], "--town and --inventory"),
        (["--inventory", str(path), "--time-zone", "Europe/Hersfeld"], "is no time zone"),
    ):
        ended = run(*ANY_PORTS, *arguments)
        assert ended.returncode == 2
        assert reason in ended.stderr
