"""Any inventory as a plain CSV, and from there into the demonstration."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest

from cli.demo import __main__ as demonstration
from cli.demo import inventory as demo
from cli.demo.conversion import OwnInventory
from cli.demo.layout import Layout
from cli.importing.luminaires import LuminaireRow, read_inventory
from cli.importing.mapping import make_mapping
from cli.importing.plain import write_plain
from cli.importing.tables import read_table
from domain.errors import InvalidInput
from simulator.inventory_town import town_from_inventory
from simulator.town import town_to_json
from tests.cli.test_offline import lichtbuch

REAL = Path(os.environ.get("LICHTBUCH_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")) / "streetlights"
LAMPS = "Leuchtennummer;Strasse;Rechtswert;Hochwert;Leistung\n1;Am Ufer;549800;5635300;23\n2;=1+1;549830;5635300;x\n"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_what_is_written_is_read_as_the_same_luminaires(tmp_path: Path) -> None:
    full = LuminaireRow(
        2, "A-1", 50.8680001, -9.7070001, "17", "Am Ufer, Süd", "LED-23", "F1", "G1", 63, "residential", "P4", 400,
        True, 22.8, 80.0, 9.5, True, "LED", "2024-05-31",
    )  # fmt: skip
    rows = [full, LuminaireRow(3, "A-2")]
    assert write_plain(rows, tmp_path / "out.csv") == 2
    table = read_table(tmp_path / "out.csv")
    assert read_inventory(table, make_mapping(table.columns, {}), crs="EPSG:4326").rows == rows


@pytest.mark.parametrize("text", ["=cmd()", "+1", "-2", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_a_formula_for_a_spreadsheet(tmp_path: Path, text: str) -> None:
    write_plain([LuminaireRow(2, "A", street=text)], tmp_path / "out.csv")
    (row,) = rows_of(tmp_path / "out.csv")
    assert row["street"] == f"'{text}"


def test_offline_writes_the_valid_lines_and_says_which_are_not(tmp_path: Path) -> None:
    (tmp_path / "lamps.csv").write_text(LAMPS, encoding="utf-8")
    target = tmp_path / "out.csv"
    done = lichtbuch(
        "import", "luminaires", tmp_path / "lamps.csv", "--offline", "--crs", "EPSG:25832", "--to", target, "--json"
    )
    assert done.returncode == 3, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["taken"], facts["refused"], facts["written_to"]) == (1, 1, str(target))
    (row,) = rows_of(target)
    assert row["luminaire_id"] == "1"
    assert 50.8 < float(row["latitude"]) < 50.9


def test_to_is_refused_without_offline_onto_its_own_source_and_where_nothing_can_be_written(tmp_path: Path) -> None:
    source = tmp_path / "lamps.csv"
    source.write_text(LAMPS, encoding="utf-8")
    refused: tuple[tuple[list[str | Path], str], ...] = (
        (["--to", tmp_path / "out.csv"], "--to: needs --offline"),
        (["--offline", "--to", source], "is the file that is read"),
        (["--offline", "--crs", "EPSG:25832", "--to", tmp_path / "absent" / "out.csv"], "cannot be written"),
    )
    for arguments, reason in refused:
        done = lichtbuch("import", "luminaires", source, *arguments)
        assert done.returncode == 2
        assert reason in done.stderr
    assert source.read_text(encoding="utf-8") == LAMPS
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("name", "municipality"),
    [("Straßenlampen Süd.csv", "strassenlampen-sued"), ("2024_x.csv", "town-2024-x"), ("灯.csv", "town")],
)
def test_the_town_of_an_inventory_is_called_as_its_file(name: str, municipality: str) -> None:
    assert OwnInventory(Path(name)).municipality == municipality


def test_a_directory_keeps_to_the_inventory_it_was_set_up_with(tmp_path: Path) -> None:
    source = tmp_path / "lamps.csv"
    source.write_text(LAMPS, encoding="utf-8")
    own, said = OwnInventory(source, crs="EPSG:25832"), list[str]()
    plain = own.convert(tmp_path / "run", said.append)
    assert plain == tmp_path / "run" / "lamps.csv"
    assert own.convert(tmp_path / "run", said.append) == plain
    assert any("line 3, Leistung" in line for line in said)
    source.write_text(LAMPS.replace("549800", "549900"), encoding="utf-8")
    with pytest.raises(InvalidInput, match="is another than the one"):
        own.convert(tmp_path / "run", said.append)


def test_the_demonstration_tells_the_simulator_and_its_own_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lamps.csv").write_text(LAMPS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demonstration, "ports_in_use", lambda layout: [])
    options = demonstration.parse(
        ["--inventory", "lamps.csv", "--crs", "EPSG:25832", "--map", "street=", "--time-zone", "Europe/Madrid"]
    )
    layout, procfile = demonstration.prepare(options)
    assert layout.directory == tmp_path / ".run" / "town-lamps"
    arguments = layout.arguments("simulator")
    assert arguments[arguments.index("--inventory") + 1] == str(layout.directory / "inventory" / "lamps.csv")
    assert arguments[arguments.index("--buildings") + 1] == "0"
    assert not {"--monitored", "--luminaires"} & set(arguments)
    assert "LICHTBUCH_DEMO_MUNICIPALITY=lamps" in procfile.read_text(encoding="utf-8")
    assert rows_of(layout.directory / "inventory" / "lamps.csv")[0]["street"] == ""


def test_without_an_inventory_the_built_in_town_is_started_as_before() -> None:
    arguments = Layout(Path("x")).arguments("simulator")
    assert arguments[arguments.index("--monitored") + 1] == "22"
    assert "--inventory" not in arguments
    assert "LICHTBUCH_DEMO_MUNICIPALITY" not in Layout(Path("x")).own_environment("town")
    with pytest.raises(SystemExit):
        demonstration.parse(["--crs", "EPSG:25832"])


def test_every_lamp_of_an_inventory_has_a_group_whose_profile_keeps_to_its_floor(tmp_path: Path) -> None:
    classes = [f"{kind}{number}" for kind, numbers in (("M", "123456"), ("C", "012345"), ("P", "1234567"))
               for number in numbers]  # fmt: skip
    rows = [
        LuminaireRow(2, f"{name}-{floor}", 50.8, 9.7, lighting_class=name, floor_permille=floor)
        for name in classes
        for floor in (0, 300, 690, 900)
    ]
    write_plain(rows, tmp_path / "lamps.csv")
    town = town_to_json(town_from_inventory(tmp_path / "lamps.csv"))
    profiles = demo.profiles()
    for lamp in town["luminaires"]:
        profile = profiles[demo.PROFILE_OF_GROUP[demo.group_of(lamp)]]
        lowest = min(point.level_permille for point in profile.points if point.level_permille)
        assert lowest >= (1000 if lamp["crossing"] else lamp["floor_permille"])


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real inventories are not at {REAL}")
def test_a_quarter_of_madrid_becomes_a_town(tmp_path: Path) -> None:
    own = OwnInventory(REAL / "madrid_hortaleza_uluminosa.csv", ["luminaire_id=@line"], "EPSG:25830")
    town = town_from_inventory(own.convert(tmp_path, print))
    assert town.name == "madrid-hortaleza-uluminosa (simulated from an inventory)"
    assert len(town.luminaires) == 299
    assert abs(town.latitude - 40.467) < 0.01
    assert abs(town.longitude + 3.644) < 0.01
