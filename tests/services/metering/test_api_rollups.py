"""QueryConsumption with and without its evidence: the same figures, and a hash only where every reading is there."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.clock import SteppedClock
from servicekit.database import Database
from servicekit.tenants import FixedTenants
from services.metering.meter import Medium
from services.metering.retention import Retention
from services.metering.rolling import RollupKeeper
from services.metering.settings import MeteringSettings
from services.metering.store.partitions import ensure_partitions, months_between
from tests.services.metering.making import NOON_MS, NOW
from tests.services.metering.running import PARENT, Metering, columns, name_of, running_metering, stamp
from tests.services.metering.test_retention import AlwaysHeld
from tests.support.issuer import Issuer
from tests.support.running import TOWNS

DAYS = 70
FIRST = -DAYS * 96


async def query(metering: Metering, meter_id: str = "M-1", **options: Any) -> pb.QueryConsumptionResponse:
    """Months of a meter until now."""
    request = pb.QueryConsumptionRequest(
        parent=PARENT,
        meters=[name_of(meter_id)],
        start_time=stamp(FIRST),
        end_time=stamp(0),
        step=pb.STEP_LOCAL_MONTH,
        **options,
    )
    answer: pb.QueryConsumptionResponse = await metering.as_().QueryConsumption(request)
    return answer


async def test_figures_are_the_same_without_their_evidence_and_after_their_readings_are_gone(
    issuer: Issuer, database: Database
) -> None:
    await database.run(lambda s: ensure_partitions(s, months_between(NOON_MS - (DAYS + 5) * 86_400_000, NOON_MS)))
    async with running_metering(issuer, database) as metering:
        await metering.meter(reading_cycle=pb.READING_CYCLE_QUARTER_HOUR)
        await metering.ingest(columns([7 * n for n in range(DAYS * 96 + 1)], first=FIRST))
        terms = [pb.MeterTerm(meter=name_of())]
        await metering.meter("sum", kind=pb.READING_KIND_VIRTUAL, terms=terms)
        proven = await query(metering)
        assert len(proven.evidence_hash) == 64
        tenants, clock = FixedTenants(TOWNS), SteppedClock(NOW)
        keeper = RollupKeeper(database, tenants, clock, AlwaysHeld())  # type: ignore[arg-type]
        for _ in range(2):
            shown = await query(metering, without_evidence=True)
            assert shown.evidence_hash == ""
            assert list(shown.amounts) == list(proven.amounts)
            assert list(shown.coverages_permille) == list(proven.coverages_permille)
            await keeper.bring_up_to_date()
        assert (await query(metering)).evidence_hash == proven.evidence_hash
        assert await Retention(database, tenants, clock, {Medium.ELECTRICITY: 1}).apply() > 0
        later = await query(metering)
        assert later.evidence_hash == ""
        # The first month was cut by the period: what of it is no whole day has gone with its readings.
        assert list(later.amounts)[1:] == list(proven.amounts)[1:]
        # So it is of a sum, whose own readings nobody has deleted as it has none.
        summed = await query(metering, "sum")
        assert summed.evidence_hash == ""
        assert list(summed.amounts) == list(later.amounts)
        left = text("SELECT count(*) FROM reading")
        assert await database.read(lambda s: s.connection().execute(left).scalar_one()) < DAYS * 96


def test_retention_is_set_per_medium_and_wrong_names_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LICHTBUCH_RETENTION_MONTHS", '{"electricity": 36, "water": 24}')
    assert MeteringSettings().retention == {Medium.ELECTRICITY: 36, Medium.WATER: 24}
    for wrong in ('{"steam": 3}', '{"gas": 0}'):
        monkeypatch.setenv("LICHTBUCH_RETENTION_MONTHS", wrong)
        with pytest.raises(ValueError, match=r"not a medium|not between"):
            MeteringSettings()


def test_roll_ups_are_set_per_medium_and_a_medium_with_retention_has_some(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MeteringSettings().rolled_up == set(Medium)
    monkeypatch.setenv("LICHTBUCH_ROLLUP_MEDIA", '["electricity", "Gas"]')
    assert MeteringSettings().rolled_up == {Medium.ELECTRICITY, Medium.GAS}
    monkeypatch.setenv("LICHTBUCH_ROLLUP_MEDIA", "[]")
    assert MeteringSettings().rolled_up == set()
    monkeypatch.setenv("LICHTBUCH_ROLLUP_MEDIA", '["steam"]')
    with pytest.raises(ValueError, match="not a medium"):
        MeteringSettings()
    monkeypatch.setenv("LICHTBUCH_ROLLUP_MEDIA", '["gas"]')
    monkeypatch.setenv("LICHTBUCH_RETENTION_MONTHS", '{"gas": 12}')
    assert MeteringSettings().rolled_up == {Medium.GAS}
    monkeypatch.setenv("LICHTBUCH_RETENTION_MONTHS", '{"gas": 12, "water": 24}')
    with pytest.raises(ValueError, match="water is missing"):
        MeteringSettings()
