"""Nothing leads around a lock-out or a hand switch: two records for one device, other records, doubtful readings."""

from dataclasses import replace

from services.lighting.records import FeederRecord, FeederSupply, GatewayRecord
from services.lighting.state import Switch
from tests.services.lighting.bench import Bench
from tests.services.lighting.fake_town import OFF

NIGHT = ((0, 0), (5, 1000), (10, 500), (17, 1000), (19.2, 0))


async def test_a_second_feeder_with_the_channel_of_a_locked_one_does_not_close_its_contactor():
    bench = Bench(cabinets=1)
    bench.plan(*NIGHT)
    twin = FeederRecord("twin", "t1", "F-twin", "c0", 0, FeederSupply.SWITCHED)
    bench.stock(feeders=(*bench.knowledge.known.inventory.feeders, twin))
    bench.lock_out("f0.0")
    await bench.at(20)
    assert (0, 1.0) not in bench.writes("fake://c0", "contactor_command")
    assert (1, 1.0) in bench.writes("fake://c0", "contactor_command")


async def test_a_second_cabinet_with_the_same_controller_does_not_either():
    bench = Bench(cabinets=2)
    bench.plan(*NIGHT)
    cabinets = bench.knowledge.known.inventory.cabinets
    bench.stock(cabinets=(cabinets[0], replace(cabinets[1], controller_uid=cabinets[0].controller_uid)))
    bench.lock_out("f0.0")
    await bench.at(20)
    assert (0, 1.0) not in bench.writes("fake://c0", "contactor_command")


async def test_a_line_that_two_gateways_stand_for_hears_no_broadcast():
    bench = Bench(cabinets=1)
    bench.plan(*NIGHT)
    inventory = bench.knowledge.known.inventory
    first, twin = inventory.gateways[0], GatewayRecord("twin", "t1", "W-twin", "c0", "eg0")
    # The lamps of the locked feeder are recorded under the one, all others under the other.
    lamps = tuple(
        replace(lamp, gateway_uid=twin.uid) if lamp.feeder_uid == "f0.0" else lamp for lamp in inventory.luminaires
    )
    bench.stock(gateways=(first, twin), luminaires=lamps)
    await bench.at(6)
    bench.lock_out("f0.0")
    bench.forget_writes()
    await bench.at(10.2)
    assert bench.writes("fake://g0", "broadcast_level_command") == []
    assert not any(index < 4 for index, _ in bench.writes("fake://g0", "level_command"))
    assert bench.levels()[0][:4] == [1000] * 4
    assert bench.levels()[0][4:] == [500] * 8


async def test_a_hand_switch_in_zero_is_still_known_when_the_inventory_changes():
    bench = Bench(cabinets=1)
    bench.plan(*NIGHT)
    await bench.at(9)
    bench.town.controller(0).cabinet.switch = OFF
    await bench.passes(3)
    bench.town.controller(0).dead = True
    bench.forget_writes()
    bench.plan((0, 0), (5, 700))
    bench.stock(towns=bench.knowledge.known.inventory.towns)
    await bench.passes(1, seconds=1.0)
    assert bench.control._ground.switch.tolist() == [Switch.OFF]
    assert bench.writes("fake://g0", "level_command") == []
    assert bench.writes("fake://g0", "broadcast_level_command") == []


async def test_no_contactor_is_switched_on_a_hand_switch_that_the_controller_itself_doubts():
    bench = Bench(cabinets=1)
    bench.plan(*NIGHT)
    await bench.at(4.5)
    bench.town.controller(0).doubts = {"hand_off_auto"}
    await bench.at(6)
    assert bench.writes("fake://c0", "contactor_command") == []
    bench.town.controller(0).doubts = set()
    await bench.passes(4)
    assert {index for index, value in bench.writes("fake://c0", "contactor_command") if value} == {0, 1}
