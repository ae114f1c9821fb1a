"""What a preview tells of a night is what the town then does: for whatever a planner may have thought of.

Gateways that know 254 steps only are left out, and levels are whole percents: what a device rounds is no concern of the
preview.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time
from itertools import count, pairwise

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cli.demo import inventory as demo
from lichtbuch.scheduler.v1 import scheduler_pb2 as pb
from lichtbuch.scheduler.v1.preview_pb2 import GroupPreview
from lichtbuch.type.v1.types_pb2 import Date
from simulator.demo import DemoSize, demo_town
from tests.support.almanac import BERLIN, DAY, Street, noon, seen_level_s
from tests.support.stepped_town import SteppedTown, some_cabinets, stepped_town
from tests.support.town_year import follow, point, streets_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIRST = date(2027, 11, 2)
INTESIS, OPC_UA = (0, 1, 2), 4
PER_LAMP_S = 12.0
"""Contactors close up to 3 s late, one after the other, and lamps fade for 2 s at each switch point."""

LEVELS = st.integers(67, 100).map(lambda percent: 10 * percent)
"""Above every floor of the town."""
SPRING_SKIPS = 225, 285
"""Two and three o'clock, in minutes after 22:15: clocks go from the one to the other in a night in March."""


def _in_order_all_year(minutes: list[int]) -> bool:
    """A time that spring skips comes an hour later by the new clock, where others may be before it: a profile of such
    points is refused, and rightly so."""
    begin, end = SPRING_SKIPS
    passed = [minute if minute < end else minute - (end - begin) for minute in minutes]
    return all(one < other for one, other in pairwise(passed))


MINUTES = st.lists(st.integers(0, 375), max_size=3, unique=True).map(sorted).filter(_in_order_all_year)
"""Of switch points after 22:15, when it is night all year."""


@st.composite
def profiles(draw: st.DrawFn) -> list[pb.SwitchPoint]:
    """Lit from dusk to dawn, with up to three changes between."""
    begin, end = draw(st.integers(0, 1200)), draw(st.integers(-1200, 0))
    return [
        point(pb.ANCHOR_SUNSET, draw(LEVELS), begin),
        *(point(pb.ANCHOR_CLOCK, draw(LEVELS), clock=_clock(22 * 60 + 15 + minute)) for minute in draw(MINUTES)),
        point(pb.ANCHOR_SUNRISE, 0, end),
    ]


@st.composite
def events(draw: st.DrawFn) -> list[pb.CalendarRule]:
    """Nothing, or an event in some hours of every night."""
    if draw(st.booleans()):
        return []
    begin = draw(st.integers(15 * 60, 26 * 60))
    until = begin + draw(st.integers(1, 8 * 60))
    return [pb.CalendarRule(from_time=_clock(begin), until_time=_clock(until), level_permille=draw(LEVELS))]


def _clock(minutes: int) -> str:
    return f"{time(minutes // 60 % 24, minutes % 60):%H:%M}"


class Planner:
    """Lets the whole town follow one calendar, which is another one each time."""

    def __init__(self, town: SteppedTown, streets: list[Street]) -> None:
        self.town, self.streets = town, streets
        self.night = FIRST
        self._numbers = count(1)

    async def plan(self, points: list[pb.SwitchPoint], rules: list[pb.CalendarRule]) -> list[GroupPreview]:
        """Stores it, has it previewed for the next night, and gives it to lighting."""
        stub, number = self.town.desk.scheduler, next(self._numbers)
        profile = pb.Profile(display_name="Whatever", points=points)
        await stub.CreateProfile(pb.CreateProfileRequest(parent=demo.PARENT, profile_id=f"p{number}", profile=profile))
        calendar = pb.Calendar(default_profile=demo.name("profiles", f"p{number}"), rules=rules)
        if number == 1:
            await stub.CreateCalendar(
                pb.CreateCalendarRequest(parent=demo.PARENT, calendar_id="whatever", calendar=calendar)
            )
            for street in self.streets:
                await follow(self.town, street.name, "whatever")
        else:
            calendar.name = demo.name("calendars", "whatever")
            await stub.UpdateCalendar(pb.UpdateCalendarRequest(calendar=calendar))
        answer = await stub.PreviewProfile(
            pb.PreviewProfileRequest(
                parent=demo.PARENT, calendar=calendar, nights=1,
                first_night=Date(year=self.night.year, month=self.night.month, day=self.night.day),
                groups=[demo.name("groups", street.name) for street in self.streets],
            )
        )  # fmt: skip
        assert not (await stub.SynchronisePlans(pb.SynchronisePlansRequest(parent=demo.PARENT))).refused
        return list(answer.groups)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def planner(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Planner]:
    """A small town at noon."""
    whole = demo_town(DemoSize(luminaires=80, cabinets=5, monitored=0, buildings=0))
    town = some_cabinets(whole, [*INTESIS, OPC_UA])
    folder = tmp_path_factory.mktemp("town")
    async with stepped_town(folder, noon(FIRST), town, scheduler_every_s=400 * 86_400) as running:
        yield Planner(running, streets_of(running.town))


# Not shrunk: each try is another night of the same town.
@settings(
    max_examples=6,
    phases=[Phase.explicit, Phase.generate],
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(points=profiles(), rules=events())
async def test_a_preview_tells_what_the_town_then_does(
    planner: Planner, points: list[pb.SwitchPoint], rules: list[pb.CalendarRule]
) -> None:
    town = planner.town
    told = await planner.plan(points, rules)
    town.witness.take()
    switching = {datetime.fromtimestamp(ms / 1000, UTC) for group in told for ms in group.instants_unix_ms}
    planner.night += DAY
    await town.to(noon(planner.night), sorted(switching))
    assert town.clock.now().astimezone(BERLIN).hour == 12
    span = town.witness.take()
    for street, group in zip(planner.streets, told, strict=True):
        lamps = street.rows.size
        off_by_s = PER_LAMP_S * lamps
        assert span.burning_s[street.rows].sum() == pytest.approx(group.previewed.lit_luminaire_seconds, abs=off_by_s)
        shown = dict(zip(group.shown_levels_permille, group.shown_luminaire_seconds, strict=True))
        shown.pop(0, None)
        seen = seen_level_s(span, street, list(shown))
        assert seen == {level: pytest.approx(seconds, abs=off_by_s) for level, seconds in shown.items()}
        energy_wh = span.energy_wh[street.rows].sum()
        assert energy_wh == pytest.approx(group.previewed.energy_wh, rel=0.001)
