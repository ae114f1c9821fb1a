"""Light that is kept constant, over real Modbus TCP and OPC UA: young lamps are told less, follow, and draw less."""

from collections.abc import AsyncIterator
from dataclasses import replace

import numpy as np
import pytest

from domain.level import PowerCurve
from services.lighting.api.states import states_to_proto
from tests.services.lighting.test_simulated_town import Night, computed_wh

YOUNG = 800


@pytest.fixture
async def night() -> AsyncIterator[Night]:
    """A town whose cabinets have young light sources, every second one, but for the last lamp of each gateway."""
    made = Night(luminaires=90)
    await made.start()
    models = {model.id: model for model in made.simulator.town.models}
    made.curves = {
        record.uid: PowerCurve(models[lamp.model].curve, models[lamp.model].rated_w, models[lamp.model].standby_w)
        for record, lamp in zip(made.inventory.luminaires, made.simulator.town.luminaires, strict=True)
    }
    young = {gateway.uid for gateway in made.inventory.gateways[::2]}
    last = {lamp.gateway_uid: lamp.uid for lamp in made.inventory.luminaires}
    made.inventory = replace(
        made.inventory,
        luminaires=tuple(
            replace(x, output_permille=YOUNG if x.gateway_uid in young and last[x.gateway_uid] != x.uid else 1000)
            for x in made.inventory.luminaires
        ),
    )
    made.knowledge.set(replace(made.knowledge.known, inventory=made.inventory))
    yield made
    await made.stop()


async def test_young_lamps_are_told_less_follow_have_no_fault_and_draw_by_what_they_were_told(night: Night):
    lamps = night.simulator.world.lamps
    night.simulator.catch_up()
    await night.step(1.0)
    began = lamps.energy_wh(night.simulator.world.now).copy()
    crossings = np.array([lamp.conflict_area for lamp in night.inventory.luminaires])
    outputs = np.array([lamp.output_permille for lamp in night.inventory.luminaires])
    for hours, level in ((5.1, 1000), (11.1, 700), (16.6, 1000), (19.4, 0)):
        await night.to(hours)
        due = np.where(crossings & (level > 0), 1000, level)
        assert np.abs(night.truth() - due * outputs // 1000).max() <= 20, hours
        states = states_to_proto(night.state, np.arange(due.size))
        assert list(states.due_permille) == due.tolist()
        assert np.abs(np.array(states.actual_permille) - due).max() <= 25
        assert not night.state.lamps.faults.any()
        assert night.faults() == []
    counted = lamps.energy_wh(night.simulator.world.now) - began
    computed = computed_wh(night, 1.0)
    assert abs(computed.sum() - counted.sum()) / counted.sum() < 0.001
    assert np.abs(computed - counted).max() < 0.02 * counted.max()


async def test_a_line_with_young_and_old_lamps_is_not_told_by_one_broadcast(night: Night):
    await night.to(10.9)
    before = len(night.simulator.field.writes.select(kind="level"))
    await night.to(12)
    told = night.simulator.field.writes.select(kind="level")[before:]
    makes = {endpoint.uid: endpoint.profile for endpoint in night.inventory.endpoints}
    outputs: dict[str, set[tuple[int, bool]]] = {}
    for lamp in night.inventory.luminaires:
        outputs.setdefault(lamp.gateway_uid, set()).add((lamp.output_permille, lamp.conflict_area))
    dali = [uid for uid in outputs if makes[uid] == "intesis-dali"]
    uniform = [uid for uid in dali if len(outputs[uid]) == 1]
    mixed = [uid for uid in dali if len({output for output, _ in outputs[uid]}) == 2]
    assert mixed
    writes = {uid: [write for write in told if write.endpoint == uid] for uid in dali}
    assert all(len(writes[uid]) == 1 for uid in uniform)
    assert all(len(writes[uid]) > 1 for uid in mixed)
