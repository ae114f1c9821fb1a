"""The form for a reading by hand, where answers about the reading before it come late, in another order, or not at all;
over real gRPC."""

import asyncio
from collections import Counter
from datetime import datetime, timedelta

import pytest
from nicegui import ElementFilter
from nicegui.testing import User

from domain.errors import Unavailable
from services.admin.metering import Metering
from services.admin.meters import MeterItem
from services.admin.pages.fields import instant_of
from services.admin.readings import Reading, Trial
from tests.services.admin.application import Application
from tests.services.admin.meter_pages import DE, READING, eventually, sees, tells, texts
from tests.services.admin.test_planning_pages import element, visible
from tests.services.admin.town_book import BERLIN
from tests.services.admin.town_buildings import metered
from tests.services.admin.town_services import Town

AWAY = DE["error_away"].format(service=DE["metering"])


class Answers:
    """What the form is answered, by the time that it asks about: held back, or failing, as a test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.last, self.tried = Counter[datetime](), Counter[datetime]()
        self.asked = Counter[datetime]()
        self.failing = set[datetime]()
        self._held: dict[datetime, asyncio.Event] = {}
        last_reading, bring = Metering.last_reading, Metering.bring

        async def held_back(metering: Metering, meter: MeterItem, at: datetime) -> Reading | None:
            gate = self._held.get(at) if not self.asked[at] else None
            self.asked[at] += 1
            try:
                if gate is not None:
                    await gate.wait()
                if at in self.failing:
                    raise Unavailable("nobody answers")
                return await last_reading(metering, meter, at)
            finally:
                self.last[at] += 1

        async def counted(metering: Metering, meter: MeterItem, at: datetime, value: int, *, dry_run: bool) -> Trial:
            trial = await bring(metering, meter, at, value, dry_run=dry_run)
            self.tried[at] += 1
            return trial

        monkeypatch.setattr(Metering, "last_reading", held_back)
        monkeypatch.setattr(Metering, "bring", counted)

    def hold(self, at: datetime) -> asyncio.Event:
        """Holds the first answer about a time back until the event is set."""
        self._held[at] = asyncio.Event()
        return self._held[at]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    return Answers(monkeypatch)


def days_before(town: Town, days: int) -> tuple[str, datetime]:
    """A time as it is typed, and the instant."""
    typed = f"{(town.clock.now() - timedelta(days=days)).astimezone(BERLIN):%Y-%m-%dT%H:%M}"
    at = instant_of(typed, BERLIN)
    assert at is not None
    return typed, at


async def doubted(application: Application, town: Town) -> User:
    """A user whose reading of W-1 is below the last one, and who has been told so."""
    metered(town)
    user = await application.open("operator", f"{READING}?meter=W-1")
    await tells(user, "reading-last", "1.610,500 m³")
    element(user, "reading-value").value = "160,5"
    await tells(user, "reading-verdict", DE["doubt_negative_step"])
    return user


def offered(user: User) -> int:
    with user:
        return len(list(ElementFilter(marker="offered")))


async def press_now(user: User, answers: Answers) -> None:
    """Presses "now", and waits for what is said about that time."""
    before = answers.tried.total()
    user.find(marker="reading-now").click()
    await eventually(lambda: answers.tried.total() > before)


async def test_an_answer_about_an_older_time_leaves_the_newer_verdict_and_its_confirmation(
    application: Application, town: Town, answers: Answers
) -> None:
    user = await doubted(application, town)
    typed, at = days_before(town, 30)
    gate = answers.hold(at)
    element(user, "reading-at").value = typed
    await eventually(lambda: answers.asked[at] == 1)
    await press_now(user, answers)
    gate.set()
    await eventually(lambda: answers.last[at] == 1)
    assert DE["doubt_negative_step"] in texts(user, "reading-verdict")
    assert visible(user, "reading-sure")
    element(user, "reading-sure").value = True
    user.find(marker="reading-fields").trigger("submit.prevent")
    await sees(user, "Gespeichert: Wasser Grundschule: 160,500 m³")


async def test_who_saves_before_the_check_has_ended_can_confirm_what_is_asked(
    application: Application, town: Town, answers: Answers
) -> None:
    user = await doubted(application, town)
    typed, at = days_before(town, 30)
    gate = answers.hold(at)
    element(user, "reading-at").value = typed
    await eventually(lambda: answers.asked[at] == 1)
    user.find(marker="reading-fields").trigger("submit.prevent")
    await sees(user, DE["reading_confirm"])
    answered = answers.last[at]
    gate.set()
    await eventually(lambda: answers.last[at] > answered)
    assert DE["doubt_negative_step"] in texts(user, "reading-verdict")
    assert visible(user, "reading-sure")


async def test_who_saves_at_once_is_held_against_the_reading_before_that_time(
    application: Application, town: Town, answers: Answers
) -> None:
    metered(town)
    user = await application.open("operator", f"{READING}?meter=W-1")
    await tells(user, "reading-last", "1.610,500 m³")
    typed, at = days_before(town, 400)
    answers.hold(at)  # the check's; 1.240 m³ were read before
    element(user, "reading-at").value = typed
    await eventually(lambda: answers.asked[at] == 1)
    element(user, "reading-value").value = "1300"
    user.find(marker="reading-fields").trigger("submit.prevent")
    await sees(user, "Gespeichert: Wasser Grundschule: 1.300,000 m³")


async def test_another_meter_chosen_within_the_minute_tells_its_last_reading(
    application: Application, town: Town
) -> None:
    metered(town)
    user = await application.open("operator", f"{READING}?meter=R-1")
    await tells(user, "reading-last", "kWh")
    for _ in range(2):  # another one, and the same one again
        user.find(marker="reading-other").click()
        user.find(marker="reading-search").clear().type("8sen")
        await eventually(lambda: offered(user) == 1)
        user.find(marker="offered").click()
        await tells(user, "reading-last", "1.610,500 m³")


async def test_a_late_failure_about_an_older_time_leaves_what_is_told_about_the_newer(
    application: Application, town: Town, answers: Answers
) -> None:
    user = await doubted(application, town)
    typed, at = days_before(town, 30)
    gate = answers.hold(at)
    answers.failing.add(at)
    element(user, "reading-at").value = typed
    await eventually(lambda: answers.asked[at] == 1)
    await press_now(user, answers)
    gate.set()
    await eventually(lambda: answers.last[at] == 1)
    assert "1.610,500 m³" in texts(user, "reading-last")
    assert DE["doubt_negative_step"] in texts(user, "reading-verdict")


async def test_a_reading_is_not_held_against_the_last_one_of_another_time_where_nobody_tells_its_own(
    application: Application, town: Town, answers: Answers
) -> None:
    metered(town)
    user = await application.open("operator", f"{READING}?meter=W-1")
    await tells(user, "reading-last", "1.610,500 m³")
    typed, at = days_before(town, 400)
    answers.failing.add(at)
    element(user, "reading-at").value = typed
    await tells(user, "reading-last", AWAY)
    element(user, "reading-value").value = "1300"
    await eventually(lambda: answers.tried[at] == 1)
    assert DE["reading_plausible"] in texts(user, "reading-verdict")
    assert not visible(user, "reading-sure")
    answers.failing.clear()
    element(user, "reading-value").value = "1301"
    await tells(user, "reading-last", "1.240,000 m³")
    await tells(user, "reading-verdict", "61,0 m³")
