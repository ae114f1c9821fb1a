"""The demonstration's invented meters: every kind, each reading plausible, the same for the same day."""

from __future__ import annotations

from pathlib import Path

from cli.demo import buildings
from cli.demo.inventory import PARENT, name
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.convert import timestamp_to_proto
from services.metering.slot import from_ms
from tests.cli.metering_command import metering_command
from tests.services.metering.making import NOON_MS, NOW

MAIN = {"id": "M-B1"}
PLACE = {"name": "Rathaus (Demonstration)"}
SLOT_MS = 900_000


async def test_the_invented_meters_are_of_every_kind_and_nothing_of_them_is_in_doubt(tmp_path: Path) -> None:
    async with metering_command(tmp_path) as command:
        stub = command.metering
        real = pb.Meter(medium=pb.MEDIUM_ELECTRICITY, unit=pb.UNIT_WH, serial_number="4711", building=PLACE["name"])
        await stub.CreateMeter(pb.CreateMeterRequest(parent=PARENT, meter_id="M-B1", meter=real))
        found = [*buildings.housed(PLACE, MAIN), *buildings.invented(NOW)]
        assert await buildings.put_in(stub, found) == len(found)
        assert await buildings.put_in(stub, found) == 0
        await buildings.put_weather_in(stub, NOW)
        listed = (await stub.ListMeters(pb.ListMetersRequest(parent=PARENT, page_size=100))).meters
        assert {meter.kind for meter in listed} >= {1, 3, 4, 5}
        assert [life.serial_number for life in next(m for m in listed if m.name.endswith("-L2")).lives] == ["4711"]
        checked = await stub.ValidateReadings(
            pb.ValidateReadingsRequest(
                parent=PARENT,
                start_time=timestamp_to_proto(from_ms(NOON_MS - 3 * SLOT_MS * 96)),
                end_time=timestamp_to_proto(from_ms(NOON_MS)),
            )
        )
        assert not [finding for finding in checked.findings if finding.is_doubted]
        names = [name("meters", f"H-{key}") for key in ("import", "generation", "feed-in", "use")]
        used = await stub.QueryConsumption(
            pb.QueryConsumptionRequest(
                parent=PARENT,
                meters=names,
                start_time=timestamp_to_proto(from_ms(NOON_MS - 30 * SLOT_MS * 96)),
                end_time=timestamp_to_proto(from_ms(NOON_MS)),
                step=pb.STEP_TOTAL,
            )
        )
        drawn, generated, fed, use = used.amounts
        assert use == drawn + generated - fed
        assert min(drawn, generated, fed) > 0
        assert list(used.coverages_permille) == [1000] * 4
        stored = [one for one in found if len(one.slots_ms)]
        assert sum(meter.HasField("latest_slot") for meter in listed) == len(stored)
        for one in stored:
            latest = next(meter for meter in listed if meter.name.endswith(f"/{one.meter_id}"))
            assert latest.latest_value == one.values[-1]


def test_the_same_day_has_the_same_past() -> None:
    first, second = (buildings.invented(NOW) for _ in range(2))
    assert [list(one.values) for one in first] == [list(one.values) for one in second]
    assert buildings.temperatures(NOW) == buildings.temperatures(NOW)
