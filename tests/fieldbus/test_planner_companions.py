"""What is read along with a point: scale factors, summed parts, times of the device, conditions; and texts."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput
from fieldbus.format.toml_source import TomlSource
from fieldbus.modbus.planner import Memory, ReadPlan, Span, plan_reads, plan_scale_factors
from fieldbus.profile import Profile, Table
from fieldbus.profile_loader import profile_from_toml
from fieldbus.values import PointAddress, Quality, TimeSource, ValueBatch

HEAD = (
    '[profile]\nname = "t"\nkind = "meter"\nvendor = "t"\nproduct = "t"\nprotocol = "modbus"\nsource = "t"\n[modbus]\n'
)
OURS_MS = 1_800_000_000_000


def profile_of(points: str, modbus: str = "") -> Profile:
    return profile_from_toml(TomlSource("t.toml", f"{HEAD}{modbus}\n{points}"))


def answer(plan: ReadPlan, registers: dict[int, int], lost: set[Span] | None = None) -> ValueBatch:
    """What a device with these registers gives, but for the lost places."""
    buffer = np.zeros(plan.buffer_size, dtype=np.uint8)
    for block in plan.blocks:
        for address in range(block.start, block.start + block.count):
            at = block.offset + 2 * (address - block.start)
            buffer[at : at + 2] = list(registers.get(address, 0).to_bytes(2, "big"))
    status = np.full(plan.row_count, Quality.GOOD, dtype=np.uint8)
    status[plan.refused_rows] = Quality.BAD
    for row, span in enumerate(plan.spans):
        if span in (lost or set()):
            status[row] = Quality.MISSING
    return plan.batch(buffer, status, np.full(plan.row_count, OURS_MS, dtype=np.int64))


def read(profile: Profile, registers: dict[int, int], lost: set[Span] | None = None) -> ValueBatch:
    return answer(plan_reads(profile, [PointAddress(name) for name in profile.points]), registers, lost)


def words(form: str, value: float, start: int) -> dict[int, int]:
    data = struct.pack(f">{form}", value)
    return dict(enumerate(struct.unpack(f">{len(data) // 2}H", data), start=start))


SCALED = profile_of(
    '[points.voltage_l1]\naddress = 10\ntype = "int16"\nscale_factor = { address = 15 }\n'
    '[points.voltage_l2]\naddress = 11\ntype = "int16"\nscale_factor = { address = 15 }\n'
    '[points.energy_active_import]\naddress = 12\ntype = "uint32"\nscale = 1000\nscale_factor = { address = 16 }\n'
)


def test_a_scale_factor_is_read_in_the_same_request_and_once_for_all_points() -> None:
    plan = plan_reads(SCALED, [PointAddress(name) for name in SCALED.points])
    assert [(block.start, block.count) for block in plan.blocks] == [(10, 7)]
    assert plan.row_count == 5


def test_a_value_is_multiplied_by_the_power_of_ten_that_stands_there_now() -> None:
    for exponent, expected in ((0, 23), (1, 230), (-1, 2.3), (-2, 0.23), (2, math.nan)):
        batch = read(SCALED, {10: 23, 15: exponent & 0xFFFF})
        assert batch.values[0] == pytest.approx(expected, abs=0, nan_ok=True)
        assert batch.quality[0] == (Quality.BAD if math.isnan(expected) else Quality.GOOD)


def test_negative_exponents_divide_so_that_decimals_stay_what_they_are() -> None:
    assert read(SCALED, {10: 2305, 15: 0xFFFF}).values[0] == 230.5
    assert read(SCALED, {10: 2303, 15: 0xFFFF}).values[0] == 230.3


@pytest.mark.parametrize("factor", [0x8000, 31, 0x7FFF, 0x8001])
def test_what_is_no_exponent_leaves_no_value(factor: int) -> None:
    batch = read(SCALED, {10: 230, 11: 231, 12: 0, 13: 5, 15: factor, 16: 0})
    assert batch.quality.tolist() == [Quality.BAD, Quality.BAD, Quality.GOOD]
    assert batch.values[2] == 5000


@given(st.integers(0, 2**32 - 1), st.integers(-3, 6))
def test_scaled_counters_are_exact_integers_up_to_2_53(raw: int, exponent: int) -> None:
    batch = read(SCALED, {12: raw >> 16, 13: raw & 0xFFFF, 16: exponent & 0xFFFF})
    exact = raw * 1000 * 10**exponent if exponent >= 0 else raw * 1000 // 10**-exponent
    if exact < 2**53:
        assert batch.values[2] == exact
        assert batch.quality[2] == Quality.GOOD
    else:
        assert batch.quality[2] == Quality.BAD


def test_without_the_scale_factor_there_is_no_value() -> None:
    batch = read(SCALED, {10: 230}, {Span(Table.HOLDING, 15, 1)})
    assert batch.quality.tolist() == [Quality.MISSING, Quality.MISSING, Quality.GOOD]
    plan = plan_reads(SCALED, [PointAddress("voltage_l1")], Memory(refused={Span(Table.HOLDING, 15, 1): 9.0}))
    assert answer(plan, {10: 230}).quality.tolist() == [Quality.BAD]


def test_exponents_can_be_read_by_themselves_for_commands() -> None:
    plan = plan_scale_factors(SCALED, [PointAddress("voltage_l1"), PointAddress("energy_active_import")])
    batch = answer(plan, {15: 0xFFFE, 16: 0x8000})
    assert batch.values[0] == -2
    assert batch.quality.tolist() == [Quality.GOOD, Quality.BAD]
    with pytest.raises(InvalidInput, match="no scale factor"):
        plan_scale_factors(SUMMED, [PointAddress("energy_active_import")])


# Siemens PAC3200: both tariffs of the import as float64 Wh.
SUMMED = profile_of(
    '[points.energy_active_import]\naddress = 801\ntype = "float64"\nsum_addresses = [805]\n'
    '[points.energy_active_export]\naddress = 809\ntype = "float64"\nsum_addresses = [813, 817]\n'
)


def test_tariffs_are_added_up() -> None:
    registers = words("d", 1000, 801) | words("d", 234, 805) | words("d", 1, 809) | words("d", 2, 813)
    registers |= words("d", 4, 817)
    batch = read(SUMMED, registers)
    assert batch.values.tolist() == [1234, 7]
    plan = plan_reads(SUMMED, [PointAddress(name) for name in SUMMED.points])
    assert [(block.start, block.count) for block in plan.blocks] == [(801, 20)]


def test_a_sum_without_one_of_its_parts_is_no_value() -> None:
    registers = words("d", 1000, 801) | words("d", math.nan, 805)
    assert read(SUMMED, registers).quality.tolist() == [Quality.BAD, Quality.GOOD]
    assert read(SUMMED, {}, {Span(Table.HOLDING, 813, 4)}).quality.tolist() == [Quality.GOOD, Quality.MISSING]


# An M-Bus gateway: ten registers per value, with exponent, unit code and Unix time (the maker's own test vector).
GATEWAY = profile_of(
    '[points.energy_active_import]\naddress = 100\ntype = "int64"\n'
    'scale_factor = { address = 106 }\ntimestamp = { address = 108, epoch = "unix" }\n'
    'require = [{ address = 107, equals = [0x0403, 5] }, { address = 90, type = "bit", bit = 2, equals = [0] }]\n'
)
RECORD = {103: 0x010B, 106: 3, 107: 0x0403, 108: 0x65A0, 109: 0x0000}


def test_a_gateways_value_has_its_exponent_and_the_time_of_the_meter() -> None:
    batch = read(GATEWAY, RECORD)
    assert batch.values.tolist() == [267_000]
    assert batch.observed_at.tolist() == [0x65A00000 * 1000]
    assert batch.time_source.tolist() == [TimeSource.DEVICE]


@pytest.mark.parametrize("change", [{107: 0x0404}, {107: 0}, {90: 4}])
def test_a_value_of_another_unit_is_refused(change: dict[int, int]) -> None:
    batch = read(GATEWAY, RECORD | change)
    assert batch.quality.tolist() == [Quality.BAD]
    assert np.isnan(batch.values[0])


@pytest.mark.parametrize("seconds", [0, 1000, 946_684_799, 0xFFFFFFFF])
def test_a_clock_that_was_never_set_is_no_clock(seconds: int) -> None:
    batch = read(GATEWAY, RECORD | {108: seconds >> 16, 109: seconds & 0xFFFF})
    assert batch.quality.tolist() == [Quality.GOOD]
    assert batch.observed_at.tolist() == [OURS_MS]
    assert batch.time_source.tolist() == [TimeSource.OURS]


def test_a_time_that_did_not_come_does_not_spoil_the_value() -> None:
    batch = read(GATEWAY, RECORD, {Span(Table.HOLDING, 108, 2)})
    assert batch.quality.tolist() == [Quality.GOOD]
    assert batch.time_source.tolist() == [TimeSource.OURS]


def test_seconds_can_be_counted_from_the_year_2000() -> None:
    profile = profile_of(
        '[points.voltage_l1]\naddress = 1\ntype = "uint16"\ntimestamp = { address = 2, epoch = "2000" }\n'
    )
    assert read(profile, {1: 230, 2: 0, 3: 60}).observed_at.tolist() == [946_684_860_000]


TEXTS = profile_of(
    '[points.voltage_l1]\naddress = 0\ntype = "uint16"\n'
    '[points.serial_number]\naddress = 1\ntype = "string"\nlength = 4\n'
    '[points.product_name]\naddress = 5\ntype = "string"\nlength = 2\nbyte_order = "little"\n'
)


def letters(data: bytes, start: int) -> dict[int, int]:
    return dict(enumerate(struct.unpack(f">{len(data) // 2}H", data), start=start))


def test_texts_come_as_texts_beside_the_numbers() -> None:
    batch = read(TEXTS, {0: 230} | letters(b"AB-123\0\0", 1) | letters(b"1M 3", 5))
    assert batch.texts == {1: "AB-123", 2: "M13"}
    assert batch.quality.tolist() == [Quality.GOOD] * 3
    assert batch.as_dict() == {PointAddress("voltage_l1"): 230}
    assert batch.text(PointAddress("serial_number")) == "AB-123"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"A1  \0\0\0\0", "A1"),
        (b"\0\0A1    ", "A1"),
        (b"A1\0rubbi", "A1"),
        ("Zähler".encode() + b"\0", "Zähler"),
        ("Zähler ".encode("latin-1") + b"\0", "Zähler"),
        (b"\0" * 8, None),
        (b" " * 8, None),
        (b"\xff" * 8, None),
        (b"A\x01\x02\x03AAAA", None),
    ],
)
def test_padding_is_dropped_and_rubbish_is_no_text(data: bytes, text: str | None) -> None:
    batch = read(TEXTS, {0: 230} | letters(data, 1) | letters(b"xxxx", 5))
    assert batch.texts.get(1) == text
    assert batch.quality[1] == (Quality.BAD if text is None else Quality.GOOD)


def test_texts_keep_their_rows_when_batches_are_put_together() -> None:
    batch = read(TEXTS, letters(b"AB-123\0\0", 1) | letters(b"1M 3", 5))
    assert ValueBatch.concatenate([batch, batch]).texts == {1: "AB-123", 2: "M13", 4: "AB-123", 5: "M13"}


def test_a_text_that_did_not_come_is_missing() -> None:
    batch = read(TEXTS, {}, {Span(Table.HOLDING, 1, 4)})
    assert batch.quality[1] == Quality.MISSING
    assert 1 not in batch.texts
