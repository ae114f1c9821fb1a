"""The form for a reading by hand, where answers about the reading before it come late, in another order, or not at all;
over real gRPC."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from nicegui import ElementFilter
from nicegui.testing import User

from domain.errors import Unavailable
from domain.night import unix_ms
from services.admin.metering import Metering
from services.admin.meters import MeterItem
from services.admin.pages.fields import instant_of
from services.admin.readings import Doubt, Reading, Trial
from tests.services.admin.application import Application
from tests.services.admin.meter_pages import DE, READING, eventually, sees, tells, texts
from tests.services.admin.test_planning_pages import element, visible
from tests.services.admin.town_book import BERLIN
from tests.services.admin.town_buildings import metered, name
from tests.services.admin.town_services import Town, TownServices

AWAY = DE["error_away"].format(service=DE["metering"])


class Answers:
    """What the form is answered, by the time that it asks about: held back, or failing, as a test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.last, self.tried = Counter[datetime](), Counter[datetime]()
        self.asked = Counter[datetime]()
        self.failing = set[datetime]()
        self.doubting: dict[datetime, tuple[Doubt, ...]] = {}
        """What the service says against a reading of a time, instead of what it would say."""
        self.brought = Counter[tuple[str, bool]]()
        """How often a meter's reading was brought, for trial or to be stored, answered or not."""
        self._held: dict[datetime, asyncio.Event] = {}
        self._bringing: dict[tuple[str, bool], asyncio.Event] = {}
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
            self.brought[meter.id, dry_run] += 1
            gate = self._bringing.get((meter.id, dry_run))
            if gate is not None:
                await gate.wait()
            trial = await bring(metering, meter, at, value, dry_run=dry_run)
            self.tried[at] += 1
            return replace(trial, doubts=self.doubting.get(at, trial.doubts))

        monkeypatch.setattr(Metering, "last_reading", held_back)
        monkeypatch.setattr(Metering, "bring", counted)

    def hold(self, at: datetime) -> asyncio.Event:
        """Holds the first answer about a time back until the event is set."""
        self._held[at] = asyncio.Event()
        return self._held[at]

    def hold_brought(self, meter: str, *, dry_run: bool) -> asyncio.Event:
        """Holds readings of a meter on their way to the service until the event is set."""
        gate = self._bringing[meter, dry_run] = asyncio.Event()
        return gate


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    return Answers(monkeypatch)


def days_before(town: Town, days: int) -> tuple[str, datetime]:
    """A time as it is typed, and the instant."""
    typed = f"{(town.clock.now() - timedelta(days=days)).astimezone(BERLIN):%Y-%m-%dT%H:%M}"
    at = instant_of(typed, BERLIN)
    assert at is not None
    return typed, at


async def opened(application: Application, town: Town) -> User:
    """A user at the form for W-1, who has been told its last reading."""
    metered(town)
    user = await application.open("operator", f"{READING}?meter=W-1")
    await tells(user, "reading-last", "1.610,500 m³")
    return user


async def held_back_before(
    user: User, town: Town, answers: Answers, days: int, *, fails: bool = False
) -> tuple[datetime, asyncio.Event]:
    """Types a time so many days ago, of which the first answer is held back: the time, and what lets the answer go."""
    typed, at = days_before(town, days)
    gate = answers.hold(at)
    if fails:
        answers.failing.add(at)
    element(user, "reading-at").value = typed
    await eventually(lambda: answers.asked[at] == 1)
    return at, gate


def save(user: User) -> None:
    user.find(marker="reading-fields").trigger("submit.prevent")


async def doubted(application: Application, town: Town) -> User:
    """A user whose reading of W-1 is below the last one, and who has been told so."""
    user = await opened(application, town)
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
    at, gate = await held_back_before(user, town, answers, 30)
    await press_now(user, answers)
    gate.set()
    await eventually(lambda: answers.last[at] == 1)
    assert DE["doubt_negative_step"] in texts(user, "reading-verdict")
    assert visible(user, "reading-sure")
    element(user, "reading-sure").value = True
    save(user)
    await sees(user, "Gespeichert: Wasser Grundschule: 160,500 m³")


async def test_who_saves_before_the_check_has_ended_can_confirm_what_is_asked(
    application: Application, town: Town, answers: Answers
) -> None:
    user = await doubted(application, town)
    at, gate = await held_back_before(user, town, answers, 30)
    save(user)
    await sees(user, DE["reading_confirm"])
    answered = answers.last[at]
    gate.set()
    await eventually(lambda: answers.last[at] > answered)
    assert DE["doubt_negative_step"] in texts(user, "reading-verdict")
    assert visible(user, "reading-sure")


async def test_who_saves_at_once_is_held_against_the_reading_before_that_time(
    application: Application, town: Town, answers: Answers
) -> None:
    user = await opened(application, town)
    await held_back_before(user, town, answers, 400)  # for the check; 1.240 m³ were read before
    element(user, "reading-value").value = "1300"
    save(user)
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
    at, gate = await held_back_before(user, town, answers, 30, fails=True)
    await press_now(user, answers)
    gate.set()
    await eventually(lambda: answers.last[at] == 1)
    assert "1.610,500 m³" in texts(user, "reading-last")
    assert DE["doubt_negative_step"] in texts(user, "reading-verdict")


async def test_a_reading_is_not_held_against_the_last_one_of_another_time_where_nobody_tells_its_own(
    application: Application, town: Town, answers: Answers
) -> None:
    user = await opened(application, town)
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


# --- a form that is about something else by the time of the answer ----------------------------------------------------


async def saved(user: User) -> None:
    """Waits until a press on "save" has been dealt with."""
    await eventually(lambda: element(user, "reading-save").enabled)


async def choose_the_kitchen(user: User) -> None:
    user.find(marker="reading-other").click()
    user.find(marker="reading-search").clear().type("K-77")
    await eventually(lambda: offered(user) == 1)
    user.find(marker="offered").click()
    await tells(user, "reading-last", "kWh")


async def storing(application: Application, town: Town, answers: Answers) -> tuple[User, datetime, asyncio.Event]:
    """A user whose plausible reading of W-1 is on its way to be stored, its time, and what lets it through."""
    user = await opened(application, town)
    typed, at = days_before(town, 30)
    element(user, "reading-at").value = typed
    element(user, "reading-value").value = "1844"
    await tells(user, "reading-verdict", DE["reading_plausible"], "330 d")
    gate = answers.hold_brought("W-1", dry_run=False)
    save(user)
    await eventually(lambda: answers.brought["W-1", False] == 1)
    return user, at, gate


async def test_a_verdict_on_one_meter_does_not_get_into_the_form_of_another(
    application: Application, town: Town, answers: Answers
) -> None:
    user = await doubted(application, town)
    gate = answers.hold_brought("W-1", dry_run=True)
    before = answers.brought["W-1", True]
    element(user, "reading-value").value = "150"
    await eventually(lambda: answers.brought["W-1", True] == before + 1)
    save(user)
    await eventually(lambda: answers.brought["W-1", True] == before + 2)
    await choose_the_kitchen(user)
    gate.set()
    await saved(user)
    assert "Küche" in texts(user, "reading-meter")
    assert not texts(user, "reading-verdict")
    assert not visible(user, "reading-sure")
    assert not texts(user, "reading-error")
    assert town.calls == []
    await sees(user, f"{DE['reading_not_stored']} Wasser Grundschule: 150,000 m³")


async def test_a_reading_whose_time_is_changed_while_it_is_looked_at_is_not_stored(
    application: Application, town: Town, answers: Answers
) -> None:
    user = await opened(application, town)
    gate = answers.hold_brought("W-1", dry_run=True)
    element(user, "reading-value").value = "1844"
    await eventually(lambda: answers.brought["W-1", True] == 1)
    save(user)
    await eventually(lambda: answers.brought["W-1", True] == 2)
    element(user, "reading-at").value = days_before(town, 30)[0]
    await eventually(lambda: answers.brought["W-1", True] == 3)
    gate.set()
    await saved(user)
    await tells(user, "reading-verdict", DE["reading_plausible"], "330 d")
    assert town.calls == []


async def test_a_reading_stored_after_another_meter_was_chosen_is_told_and_leaves_its_form_alone(
    application: Application, town: Town, answers: Answers
) -> None:
    user, _, gate = await storing(application, town, answers)
    await choose_the_kitchen(user)
    element(user, "reading-value").value = "813"
    await tells(user, "reading-verdict", "verdict-box")
    verdict = texts(user, "reading-verdict")
    gate.set()
    await sees(user, "Gespeichert: Wasser Grundschule: 1.844,000 m³")
    await saved(user)
    assert visible(user, "reading-fields")
    assert "Küche" in texts(user, "reading-meter")
    assert element(user, "reading-value").value == "813"
    assert texts(user, "reading-verdict") == verdict


async def test_a_reading_refused_after_another_meter_was_chosen_is_told_outside_its_form(
    application: Application, town: Town, answers: Answers
) -> None:
    user, at, gate = await storing(application, town, answers)
    await choose_the_kitchen(user)
    town.book.put(name("W-1"), at, 1_700_000)
    gate.set()
    await sees(user, DE["reading_refused"].split("{")[0])
    await saved(user)
    assert not texts(user, "reading-verdict")
    assert not texts(user, "reading-error")


async def test_a_reading_nobody_answers_for_after_another_meter_was_chosen_is_told_outside_its_form(
    application: Application, town: Town, services: TownServices, answers: Answers
) -> None:
    user, _, gate = await storing(application, town, answers)
    await choose_the_kitchen(user)
    await services.stop("metering")
    gate.set()
    await eventually(lambda: any(AWAY in said and "1.844,000 m³" in said for said in user.notify.messages))
    await saved(user)
    assert not texts(user, "reading-error")


async def test_the_next_reading_of_a_meter_is_held_against_the_one_that_was_on_its_way(
    application: Application, town: Town, answers: Answers
) -> None:
    user, _, gate = await storing(application, town, answers)
    await press_now(user, answers)
    assert "1.610,500 m³" in texts(user, "reading-last")
    gate.set()
    await sees(user, "Gespeichert: Wasser Grundschule: 1.844,000 m³")
    await tells(user, "reading-last", "1.844,000 m³")
    assert visible(user, "reading-fields")
    assert element(user, "reading-value").value == "1844"


# --- asked again ------------------------------------------------------------------------------------------------------


async def test_who_confirmed_one_doubt_is_asked_again_when_there_are_more(
    application: Application, town: Town, answers: Answers
) -> None:
    user = await opened(application, town)
    typed, at = days_before(town, 30)
    answers.failing.add(at)
    answers.doubting[at] = (Doubt("spike"),)
    element(user, "reading-at").value = typed
    element(user, "reading-value").value = "160,5"
    await tells(user, "reading-verdict", DE["doubt_spike"])
    assert DE["doubt_negative_step"] not in texts(user, "reading-verdict")
    element(user, "reading-sure").value = True
    answers.failing.clear()
    save(user)
    await tells(user, "reading-verdict", DE["doubt_spike"], DE["doubt_negative_step"])
    await sees(user, DE["reading_confirm"])
    await saved(user)
    assert element(user, "reading-sure").value is False
    assert town.calls == []
    element(user, "reading-sure").value = True
    save(user)
    await sees(user, "Gespeichert: Wasser Grundschule: 160,500 m³")


async def test_a_refused_reading_is_brought_again_when_save_is_pressed_again(
    application: Application, town: Town, answers: Answers
) -> None:
    user, at, gate = await storing(application, town, answers)
    town.book.put(name("W-1"), at, 1_700_000)
    gate.set()
    await tells(user, "reading-verdict", DE["reading_refused"].split("{")[0])
    await saved(user)
    del town.book.readings[name("W-1")][unix_ms(at)]
    save(user)
    await sees(user, "Gespeichert: Wasser Grundschule: 1.844,000 m³")
