"""Sessions: how they begin, hold and end."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.errors import NotAuthenticated
from servicekit.clock import SteppedClock
from services.admin.auth import Login
from services.admin.session import Session, Sessions
from services.admin.settings import AdminSettings

START = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(START, step_real=True)


def login(subject: str = "u-1", life: timedelta = timedelta(hours=1)) -> Login:
    return Login(subject, "Vera Ansicht", f"token of {subject}", "id", START + life)


@pytest.fixture
async def sessions(clock: SteppedClock) -> AsyncIterator[Sessions]:
    sessions = Sessions(settings(), clock)
    yield sessions
    await sessions.close()


def settings(**values: Any) -> AdminSettings:
    return AdminSettings(**({"max_sessions": 3} | values))


async def opened(sessions: Sessions, subject: str = "u-1") -> tuple[Session, str]:
    return sessions.open(login(subject))


async def test_a_browser_finds_its_session_by_an_id_that_nobody_can_guess(sessions: Sessions) -> None:
    session, shown = await opened(sessions)
    assert sessions.find(shown) is session
    assert len(shown) >= 43
    assert [sessions.find(other) for other in ("", shown[:-1], shown + "x", "\udcff")] == [None] * 4


async def test_what_we_keep_does_not_tell_what_the_browser_shows(sessions: Sessions) -> None:
    session, shown = await opened(sessions)
    assert shown not in repr(session)
    assert shown not in session.key
    assert "token of" not in repr(session)


async def test_each_login_gets_an_id_of_its_own(sessions: Sessions) -> None:
    (first, shown), (second, other) = await opened(sessions), await opened(sessions)
    assert first is not second
    assert shown != other


async def test_a_session_ends_with_its_token(sessions: Sessions, clock: SteppedClock) -> None:
    session, shown = await opened(sessions)
    await clock.advance(timedelta(minutes=61))
    assert session.is_over
    assert sessions.find(shown) is None
    with pytest.raises(NotAuthenticated):
        await session.token.token()


async def test_a_session_ends_when_a_service_refuses_its_token(sessions: Sessions) -> None:
    session, shown = await opened(sessions)
    assert session.token.refused("token of u-1") is False
    assert session.is_over
    assert sessions.find(shown) is None


async def test_no_session_is_longer_than_the_settings_allow(clock: SteppedClock) -> None:
    sessions = Sessions(settings(session_max_hours=2), clock)
    _, shown = sessions.open(login(life=timedelta(days=30)))
    await clock.advance(timedelta(hours=1, minutes=59))
    assert sessions.find(shown) is not None
    await clock.advance(timedelta(minutes=2))
    assert sessions.find(shown) is None


async def test_of_too_many_the_oldest_gives_way(sessions: Sessions) -> None:
    shown = [(await opened(sessions, f"u-{number}"))[1] for number in range(4)]
    assert [sessions.find(one) is not None for one in shown] == [False, True, True, True]
    assert len(sessions) == 3


async def test_forgotten_sessions_are_swept_out(sessions: Sessions, clock: SteppedClock) -> None:
    session, _ = await opened(sessions)
    await clock.advance(timedelta(hours=2))
    sessions.sweep()
    assert len(sessions) == 0
    assert session.is_closed


async def test_two_people_never_share_a_town(sessions: Sessions) -> None:
    (one, _), (other, _) = await opened(sessions), await opened(sessions, "u-2")
    assert one.town("municipalities/m") is one.town("municipalities/m")
    assert one.town("municipalities/m") is not other.town("municipalities/m")
