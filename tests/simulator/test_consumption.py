"""Building consumption: the synthetic profile and the replay of real hours."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from domain.errors import InvalidInput
from simulator.catalogue import buildings
from simulator.consumption import ConsumptionCounter, RecordedSource, SyntheticSource
from simulator.demo import LATITUDE_DEG, LONGITUDE_DEG

SHARED = Path(os.environ.get("LICHTBUCH_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
SPECS = buildings(LATITUDE_DEG, LONGITUDE_DEG)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.building.shape)
def test_a_synthetic_year_sums_up_to_the_annual_consumption(spec) -> None:
    source = SyntheticSource(spec.building, "Europe/Berlin")
    assert source.year_wh(2026).sum() == pytest.approx(spec.building.annual_kwh * 1000)
    assert len(source.year_wh(2028)) == 8784
    assert (source.year_wh(2026) > 0).all()
    assert (source.year_wh(2026) == SyntheticSource(spec.building, "Europe/Berlin").year_wh(2026)).all()


def test_an_office_uses_more_on_a_weekday_noon_than_on_a_sunday_and_more_in_winter_than_in_summer() -> None:
    year = SyntheticSource(SPECS[0].building, "Europe/Berlin").year_wh(2026)

    def hour(month: int, day: int, hour: int) -> float:
        since = datetime(2026, month, day, hour, tzinfo=UTC) - datetime(2026, 1, 1, tzinfo=UTC)
        return float(year[since // timedelta(hours=1)])

    assert hour(11, 23, 11) > 2 * hour(11, 22, 11)
    assert hour(1, 19, 11) > 1.2 * hour(7, 20, 11)


def test_the_counter_is_straight_within_an_hour_and_runs_on_over_new_year() -> None:
    source = SyntheticSource(SPECS[0].building, "Europe/Berlin")
    counter = ConsumptionCounter(source, 2026)
    start = datetime(2026, 3, 1, 10, tzinfo=UTC).timestamp()
    hour = counter.energy_wh(start + 3600) - counter.energy_wh(start)
    assert counter.energy_wh(start + 900) - counter.energy_wh(start) == pytest.approx(hour / 4)
    assert counter.power_w(start + 900) == pytest.approx(hour)
    new_year = datetime(2027, 1, 1, tzinfo=UTC).timestamp()
    assert counter.energy_wh(new_year) == pytest.approx(SPECS[0].building.annual_kwh * 1000)
    assert counter.energy_wh(new_year + 3600) - counter.energy_wh(new_year) == pytest.approx(source.year_wh(2027)[0])
    with pytest.raises(InvalidInput):
        counter.energy_wh(datetime(2025, 12, 31, tzinfo=UTC).timestamp())


def write_hours(path: Path, first: datetime, values: list[str]) -> Path:
    rows = [f"{(first + timedelta(hours=h)):%Y-%m-%d %H:%M:%S},{value},0" for h, value in enumerate(values)]
    path.write_text("\n".join(["datetime_utc,electricity,gas", *rows]), encoding="utf-8")
    return path


def test_recorded_hours_are_replayed_on_days_of_the_same_weekday(tmp_path: Path) -> None:
    # Each day's value is its weekday, so that a wrong weekday would show.
    first = datetime(2019, 1, 1)
    values = [str((first + timedelta(hours=h)).weekday()) for h in range(8760)]
    year = RecordedSource.from_csv(write_hours(tmp_path / "m.csv", first, values)).year_wh(2026)
    expected = [(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=h)).weekday() * 1000.0 for h in range(8760)]
    assert year.tolist() == expected
    assert len(RecordedSource.from_csv(tmp_path / "m.csv").year_wh(2028)) == 8784


def test_days_with_missing_hours_are_replaced_by_neighbours(tmp_path: Path) -> None:
    values = ["5"] * 8760
    values[30] = ""
    source = RecordedSource.from_csv(write_hours(tmp_path / "m.csv", datetime(2019, 1, 1), values))
    assert (source.year_wh(2026) == 5000.0).all()


def test_a_wrong_file_is_refused_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        RecordedSource.from_csv(tmp_path / "absent.csv")
    (tmp_path / "columns.csv").write_text("time,value\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match="no column datetime_utc, electricity"):
        RecordedSource.from_csv(tmp_path / "columns.csv")
    (tmp_path / "text.csv").write_text("datetime_utc,electricity\n2019-01-01 00:00:00,many\n", encoding="utf-8")
    with pytest.raises(InvalidInput) as caught:
        RecordedSource.from_csv(tmp_path / "text.csv")
    assert "text.csv:2" in caught.value.violations[0].field
    (tmp_path / "empty.csv").write_text("datetime_utc,electricity\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match="no complete day"):
        RecordedSource.from_csv(tmp_path / "empty.csv")


def test_a_real_building_keeps_its_annual_consumption_when_replayed() -> None:
    path = SHARED / "meters" / "cambridge" / "ucam_b4_hourly_2017_2020.csv"
    if not path.exists():
        pytest.skip(f"real data is not here: {path}")
    source = RecordedSource.from_csv(path)
    year = source.year_wh(2026)
    assert len(year) == 8760
    assert (year >= 0).all()
    recorded = np.concatenate(list(source._days.values())).mean()
    assert year.mean() == pytest.approx(recorded, rel=0.25)
