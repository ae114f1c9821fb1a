"""Measures over gRPC: their terms are frozen, and what could not be proven later is refused now."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from domain.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidInput,
    NotFound,
)
from lichtbuch.ledger.v1 import ledger_pb2 as pb
from lichtbuch.lighting.v1 import inventory_pb2
from lichtbuch.metering.v1 import metering_pb2
from servicekit.convert import timestamp_to_proto
from tests.services.ledger.helpers import TOWN, night_of
from tests.services.ledger.ledger import (
    NIGHTS,
    RunningLedger,
    lighting_measure,
)


async def test_a_measure_freezes_the_inventory_with_what_stood_there_before(ledger: RunningLedger) -> None:
    created = await ledger.metered_town()
    assert created.name == f"{TOWN}/measures/led"
    assert created.lighting.luminaire_count == 8
    assert created.lighting.power_w == 8 * 83
    assert created.lighting.half_night_off == "22:30"
    assert created.lighting.uncertainty_permille == 50
    assert len(created.terms_hash) == 64
    # What happens to the inventory later changes nothing about it.
    ledger.neighbours.lighting.luminaires.clear()
    entry = await ledger.post()
    assert await ledger.admin.GetMeasure(pb.GetMeasureRequest(name=created.name)) == created
    assert f"terms:{created.terms_hash}" in entry.evidence


def _no_lamp(measure: pb.Measure, ledger: RunningLedger) -> None:
    for luminaire in ledger.neighbours.lighting.luminaires[2:]:
        luminaire.previous.lamp_power_w = 0


def _other_unit(measure: pb.Measure, ledger: RunningLedger) -> None:
    ledger.neighbours.metering.meters[measure.meters[0]].unit = metering_pb2.UNIT_L


def _foreign_meter(measure: pb.Measure, ledger: RunningLedger) -> None:
    measure.meters.append(ledger.neighbours.metering.add("hall"))


def _stated(measure: pb.Measure, ledger: RunningLedger) -> None:
    measure.stated.CopyFrom(pb.StatedBaseline(weekday_wh=[1] * 12, weekend_wh=[1] * 12, source="x"))


def _eleven(measure: pb.Measure, ledger: RunningLedger) -> None:
    measure.method = pb.METHOD_OPTION_C
    measure.stated.CopyFrom(pb.StatedBaseline(weekday_wh=[1] * 11, weekend_wh=[1] * 12, source="x"))


def _add(field: str, value: Any) -> Callable[[pb.Measure, RunningLedger], None]:
    def change(measure: pb.Measure, ledger: RunningLedger) -> None:
        getattr(measure, field).append(value)

    return change


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (_no_lamp, FailedPrecondition, r"of 6 of 8 luminaires .*L-1-2.* and 1 more"),
        (_other_unit, InvalidInput, r"measure.meters\[0\]: .* does not count energy"),
        (_foreign_meter, FailedPrecondition, "1 meters measure none of the cabinets: .*/meters/hall"),
        (_stated, InvalidInput, "does not go with a stated baseline"),
        (_eleven, InvalidInput, r"measure.stated.weekday_wh: 11 numbers"),
        (_add("meters", f"{TOWN}/meters/nowhere"), InvalidInput, r"measure.meters\[2\]: .*nowhere does not exist"),
        (_add("meters", f"{TOWN}/meters/M-1"), InvalidInput, "occurs twice"),
        (_add("shares", pb.Share(party="More", share_permille=1)), InvalidInput, "add up to 1001 per mille"),
        (_add("shares", pb.Share(party="Contractor", share_permille=0)), InvalidInput, r"shares\[2\].party"),
        (lambda m, _: m.ClearField("meters"), InvalidInput, "option B needs the meters"),
        (lambda m, _: m.meters.pop(), FailedPrecondition, "1 of the cabinets have no meter in the measure: .*C-2"),
        (lambda m, _: m.lighting.cabinets.append(f"{TOWN}/cabinets/C-9"), InvalidInput, r"cabinets\[2\]: .*not exist"),
        (lambda m, _: setattr(m.lighting, "half_night_on", "20:00"), InvalidInput, "does not follow 22:30"),
        (lambda m, _: m.ClearField("lighting"), InvalidInput, "a lighting or a stated baseline is needed"),
        (lambda m, _: m.ClearField("factors"), InvalidInput, "measure.factors"),
        (lambda m, _: setattr(m.factors, "price_eur_per_kwh", "0,28"), InvalidInput, "price_eur_per_kwh"),
    ],
)
async def test_a_measure_that_could_not_be_proven_is_refused(
    ledger: RunningLedger, change: Callable[[pb.Measure, RunningLedger], None], error: type[Exception], told: str
) -> None:
    cabinets, meters = ledger.neighbours.town([night_of(NIGHTS[0])[0]])
    measure = lighting_measure(cabinets, meters)
    change(measure, ledger)
    with pytest.raises(error, match=told):
        await ledger.create(measure)
    with pytest.raises(NotFound):
        await ledger.admin.GetMeasure(pb.GetMeasureRequest(name=f"{TOWN}/measures/led"))


async def test_a_cabinet_without_lamps_and_a_name_that_is_taken_are_refused(ledger: RunningLedger) -> None:
    created = await ledger.metered_town()
    with pytest.raises(AlreadyExists):
        await ledger.create(lighting_measure(created.lighting.cabinets, created.meters))
    ledger.neighbours.lighting.cabinets.append(inventory_pb2.Cabinet(name=f"{TOWN}/cabinets/empty"))
    with pytest.raises(FailedPrecondition, match="no luminaire hangs on"):
        await ledger.create(lighting_measure([f"{TOWN}/cabinets/empty"]), "other")


async def test_an_older_inventory_without_positions_uses_the_middle_of_the_town(ledger: RunningLedger) -> None:
    cabinets, meters = ledger.neighbours.town([night_of(NIGHTS[0])[0]])
    for luminaire in ledger.neighbours.lighting.luminaires:
        luminaire.ClearField("position")
        luminaire.ClearField("model")
        luminaire.installed_power_w = 25.0
    await ledger.create(lighting_measure(cabinets, meters))
    entry = await ledger.post()
    assert entry.full_level_reference_wh == pytest.approx(8 * 25 * 13.0, rel=0.01)


async def test_an_effective_date_with_odd_digits_is_kept_to_the_millisecond(ledger: RunningLedger) -> None:
    odd = timestamp_to_proto(datetime(2026, 1, 1, 0, 0, 0, 123_456, tzinfo=UTC))
    created = await ledger.metered_town(effective_from=odd)
    assert created.effective_from.nanos == 123_000_000
