"""Commissioning as people ask for it: a luminaire blinks, or a refusal says why it does not."""

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from domain.errors import FailedPrecondition, InvalidInput, NotFound, NotPermitted
from lichtbuch.lighting.v1 import commissioning_pb2 as com
from lichtbuch.lighting.v1 import control_pb2 as ctl
from lichtbuch.lighting.v1 import inventory_pb2 as inv
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from services.lighting.records import EndpointState
from tests.services.lighting.fake_town import OFF
from tests.services.lighting.running import FITTER, Lighting, T, override_message

LAMP = f"{T}/luminaires/L-1-1"


def request(name: str = LAMP, seconds: int = 30, reason: str = "") -> com.IdentifyLuminaireRequest:
    """A wish to see a lamp blink."""
    return com.IdentifyLuminaireRequest(name=name, duration_s=seconds, reason=reason)


async def told(light: Lighting, seconds: int, address: int = 1) -> list[int]:
    """What a lamp is told within some seconds, a pass each."""
    gateway = light.town.gateway(1)
    gateway.writes.clear()
    await light.passes(seconds, 1.0)
    return [round(v) for point, index, v in gateway.writes if point == "level_command" and index == address]


async def test_it_blinks_by_night_for_as_long_as_asked_and_the_trail_says_who_wanted_it(lighting: Lighting):
    light = lighting
    await light.street()
    await light.known()
    await light.to(11)
    answer = await light.operator.IdentifyLuminaire(request(seconds=132, reason="pole 7"))
    assert (answer.luminaire, answer.gateway, answer.gateway_address) == (LAMP, f"{T}/gateways/G-1", 1)
    assert (answer.low_permille, answer.author) == (400, "operator")
    assert answer.end_time.seconds - answer.start_time.seconds == 132
    await light.passes(1)  # a stepped loop looks at its regular pass
    assert await told(light, 20) == [1000, 400, 1000]
    records = await light.trail(LAMP)
    assert (records[0].actor, records[0].reason) == ("operator", "pole 7")
    assert "identify" in records[0].action.lower()


async def test_asked_again_the_time_begins_anew(light: Lighting):
    await light.street()
    await light.known()
    await light.to(11)
    await light.operator.IdentifyLuminaire(request(seconds=121))
    await light.passes(1)
    await light.operator.IdentifyLuminaire(request(seconds=200))
    await light.passes(1)
    assert len(await told(light, 60)) >= 19


async def test_a_fitter_lets_blink_what_hangs_on_the_own_cabinets(light: Lighting):
    await light.street(1)
    await light.street(2)
    await light.known()
    await light.as_(FITTER).IdentifyLuminaire(request())
    with pytest.raises(NotPermitted):
        await light.as_(FITTER).IdentifyLuminaire(request(f"{T}/luminaires/L-2-0"))
    with pytest.raises(NotPermitted):
        await light.as_("viewer").IdentifyLuminaire(request())


async def test_what_cannot_blink_is_refused_and_the_refusal_says_why(light: Lighting):
    await light.street()
    await light.import_lines(luminaire_ids=["L-9"], floors_permille=[400])
    await light.import_lines(
        luminaire_ids=["L-1-2"], conflict_areas=[True], feeder_ids=["F-1"], gateway_ids=["G-1"], gateway_addresses=[2],
        model_ids=["LED-23"], latitudes_deg=[50.868], longitudes_deg=[9.707],
    )  # fmt: skip
    await light.known()
    await light.to(11)
    operator = light.operator

    async def refused(name: str) -> str:
        with pytest.raises(FailedPrecondition) as caught:
            await operator.IdentifyLuminaire(request(name))
        return str(caught.value)

    with pytest.raises(NotFound):
        await operator.IdentifyLuminaire(request(f"{T}/luminaires/none"))
    with pytest.raises(InvalidInput) as caught:
        await operator.IdentifyLuminaire(request(seconds=301))
    assert "duration_s" in str(caught.value)
    assert "has no gateway" in await refused(f"{T}/luminaires/L-9")
    assert "conflict area" in await refused(f"{T}/luminaires/L-1-2")

    light.town.controller(1).cabinet.switch = OFF
    await light.passes(2)
    assert "stands in 0" in await refused(LAMP)
    light.town.controller(1).cabinet.switch = 2
    await light.passes(2)

    override = override_message(500, None, 20, LAMP, priority=ctl.OVERRIDE_PRIORITY_MAINTENANCE)
    made = await operator.CreateOverride(pb.CreateOverrideRequest(parent=T, override=override))
    await light.passes(1)
    assert "follows a command of maintenance" in await refused(LAMP)
    await operator.ReleaseOverride(pb.ReleaseOverrideRequest(name=made.name))

    lockout = ctl.Lockout(feeder=f"{T}/feeders/F-1", reason="cable fault")
    await operator.CreateLockout(pb.CreateLockoutRequest(parent=T, lockout_id="K-1", lockout=lockout))
    assert "locked out by K-1" in await refused(LAMP)


@pytest.mark.parametrize("state", [EndpointState.OBSERVED, EndpointState.PLANNED])
async def test_a_gateway_that_nobody_released_for_tests_is_not_written(light: Lighting, state: EndpointState):
    await light.street()
    await light.endpoints("c1", "g1", state=state)
    await light.known()
    with pytest.raises(FailedPrecondition) as caught:
        await light.operator.IdentifyLuminaire(request())
    assert f"is {state.name.lower()}" in str(caught.value)


async def test_no_more_than_twenty_blink_at_once(light: Lighting):
    names = await light.street(1, lamps=21)
    await light.known()
    for name in names[:20]:
        await light.operator.IdentifyLuminaire(request(name))
    with pytest.raises(FailedPrecondition) as caught:
        await light.operator.IdentifyLuminaire(request(names[20]))
    assert "20 luminaires blink already" in str(caught.value)
    await light.passes(1, 31.0)
    await light.operator.IdentifyLuminaire(request(names[20]))


async def test_a_conflict_area_may_blink_by_day(light: Lighting):
    await light.street()
    update = inv.Luminaire(name=LAMP, conflict_area=True)
    await light.planner.UpdateLuminaire(
        pb.UpdateLuminaireRequest(luminaire=update, update_mask=FieldMask(paths=["conflict_area"]))
    )
    await light.known()
    answer = await light.operator.IdentifyLuminaire(request())
    assert answer.low_permille == 0
