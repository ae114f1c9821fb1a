"""Whatever a client sends, every unit of the town answers it as the specification asks, and keeps working."""

import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.devices import Devices
from simulator.field import Field
from simulator.modbus import pdu
from simulator.modbus.unit import Origin, Unit
from simulator.town import Town
from simulator.world import World
from tests.simulator.conftest import NOON

HERE = Origin("127.0.0.1:1")


@pytest.fixture(scope="module")
def units(town: Town) -> dict[str, Unit]:
    devices = Devices(Field(World(town, NOON)), before=lambda: None)
    return {f"{port.name}/{number}": unit for port in devices._ports for number, unit in port.units.items()}


ADDRESS = st.one_of(
    st.integers(0, 0xFFFF),
    st.sampled_from(
        [0, 5, 15, 95, 255, 256, 384, 2560, 2688, 6399, 6400, 6800, 6999, 7000, 19000, 20480, 25034, 31399, 64512]
    ),
)
READ = st.builds(lambda f, a, n: struct.pack(">BHH", f, a, n), st.integers(1, 4), ADDRESS, st.integers(0, 0xFFFF))
WRITE = st.builds(
    lambda f, a, v: struct.pack(">BHH", f, a, v), st.sampled_from([5, 6]), ADDRESS, st.integers(0, 0xFFFF)
)
BLOCK = st.builds(
    lambda a, values: struct.pack(f">BHHB{len(values)}H", 16, a, len(values), 2 * len(values), *values),
    ADDRESS,
    st.lists(st.integers(0, 300), max_size=10),
)
ANYTHING = st.binary(min_size=1, max_size=40)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(READ, WRITE, BLOCK, ANYTHING), st.data())
def test_every_request_gets_an_answer_of_its_own_function(
    units: dict[str, Unit], request_: bytes, data: st.DataObject
) -> None:
    unit = units[data.draw(st.sampled_from(sorted(units)))]
    answer = pdu.answer(unit, request_, HERE)
    assert answer[0] in (request_[0], request_[0] | 0x80)
    assert 2 <= len(answer) <= 253
    if answer[0] & 0x80 and not request_[0] & 0x80:
        assert answer[1] in (1, 2, 3, 11)
    elif request_[0] in (3, 4):
        assert answer[1] == 2 * struct.unpack(">H", request_[3:5])[0] == len(answer) - 2
