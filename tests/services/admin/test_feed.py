"""What is shown while a service does not answer."""

import asyncio
from datetime import UTC, datetime

import pytest

from domain.errors import InvalidInput, LichtbuchError, NotAuthenticated, NotFound, NotPermitted, TimedOut, Unavailable
from services.admin import feed as feeds
from services.admin.feed import Feed, Problem, problem_of
from tests.support.waiting import eventually

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Source:
    """Answers with what it is given, an error or a value."""

    def __init__(self, answer: object = 1) -> None:
        self.answer = answer
        self.asked = 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def __call__(self) -> object:
        self.asked += 1
        await self.go_on.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def feed(source: Source) -> Feed[object]:
    return Feed("lighting", source, 5.0, lambda: AT)


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (Unavailable("away"), Problem.AWAY),
        (TimedOut("late"), Problem.AWAY),
        (NotPermitted("no"), Problem.DENIED),
        (NotAuthenticated("who"), Problem.SIGNED_OUT),
        (NotFound("x"), Problem.MISSING),
        (InvalidInput.of("x", "y"), Problem.FAILED),
        (LichtbuchError("internal"), Problem.FAILED),
        (ValueError("a bug of ours"), Problem.FAILED),
    ],
)
def test_every_error_means_something_to_a_person(error: Exception, problem: Problem) -> None:
    assert problem_of(error) is problem


async def test_a_service_that_goes_away_leaves_its_last_picture_marked_as_stale() -> None:
    source = Source("lamps")
    kept = feed(source)
    await kept.refresh()
    source.answer = Unavailable("away")
    await kept.refresh()
    assert (kept.value, kept.is_stale, kept.problem, kept.fetched_at) == ("lamps", True, Problem.AWAY, AT)
    source.answer = "lamps again"
    await kept.refresh()
    assert (kept.value, kept.is_stale) == ("lamps again", False)


async def test_what_one_may_not_see_any_more_is_not_kept() -> None:
    source = Source("lamps")
    kept = feed(source)
    await kept.refresh()
    source.answer = NotPermitted("no")
    await kept.refresh()
    assert (kept.value, kept.problem) == (None, Problem.DENIED)


async def test_a_version_stands_for_something_new_to_show() -> None:
    source = Source("a")
    kept = feed(source)
    versions = []
    for answer in ("a", "a", "b", Unavailable("x"), Unavailable("y"), "b"):
        source.answer = answer
        await kept.refresh()
        versions.append(kept.version)
    assert versions == [1, 1, 2, 3, 3, 4]


async def test_who_asks_at_the_same_time_shares_one_call() -> None:
    source = Source("a")
    source.go_on.clear()
    kept = feed(source)
    asking = [asyncio.create_task(kept.refresh()) for _ in range(5)]
    await asyncio.sleep(0)
    asking[0].cancel()
    await asyncio.sleep(0)
    source.go_on.set()
    await asyncio.gather(*asking, return_exceptions=True)
    assert source.asked == 1
    assert kept.value == "a"


async def test_who_has_changed_something_is_not_answered_by_a_call_from_before() -> None:
    source = Source("before")
    source.go_on.clear()
    kept = feed(source)
    before = asyncio.create_task(kept.refresh())
    await asyncio.sleep(0)
    after = asyncio.create_task(kept.refresh_anew())
    await asyncio.sleep(0)
    source.go_on.set()
    await before
    source.answer = "after"
    await after
    assert (source.asked, kept.value) == (2, "after")


async def test_what_did_not_come_is_asked_for_soon_again_however_seldom_it_is_fetched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feeds, "AGAIN_S", 0.001)
    source = Source(Unavailable("away"))
    kept: Feed[object] = Feed("lighting", source, 3600.0, lambda: AT)
    keeping = asyncio.create_task(kept.keep())
    try:
        await eventually(lambda: source.asked >= 3)
        source.answer = "lamps"
        await eventually(lambda: kept.value == "lamps" and kept.problem is None)
    finally:
        keeping.cancel()
