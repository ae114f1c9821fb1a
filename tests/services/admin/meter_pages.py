"""What tests of the pages about meters have in common: addresses, and waiting for what a page says."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from nicegui import ElementFilter
from nicegui.testing import User
from nicegui.testing.user_interaction import UserInteraction

from domain.night import local_date
from services.admin.texts import words
from tests.services.admin.test_planning_pages import html
from tests.services.admin.town_book import BERLIN
from tests.support import waiting

DE, EN = words("de"), words("en")
METERS, FINDINGS, READING = "/de/bad-hersfeld/meters", "/de/bad-hersfeld/findings", "/de/bad-hersfeld/readings/new"
PATIENCE_S = 120.0
"""A machine that does other things too takes its time; what waits goes on as soon as it can."""


async def eventually(condition: Callable[[], bool]) -> None:
    """Waits until a condition holds."""
    await waiting.eventually(condition, PATIENCE_S)


async def sees(user: User, *texts: str) -> None:
    """Waits for texts in what elements say."""
    for text in texts:
        await user.should_see(text, retries=int(PATIENCE_S * 10))


async def shows(user: User, *texts: str) -> None:
    """Waits for texts in what is written as HTML."""
    for text in texts:
        await eventually(lambda text=text: text in html(user))  # type: ignore[misc]


def lately(last: datetime) -> str:
    """A day whose month has days that are over, whatever day it is."""
    return (local_date(last, BERLIN) - timedelta(days=2)).isoformat()


def places(user: User) -> list[str]:
    with user:
        return [str(section.props["aria-label"]) for section in ElementFilter(marker="meter-place")]


def texts(user: User, marker: str) -> str:
    with user:
        found = list(ElementFilter(marker=marker))
    return " ".join(str(each.props.get("innerHTML", "")) or str(getattr(each, "text", "")) for each in found)


async def tells(user: User, marker: str, *parts: str) -> None:
    for part in parts:
        await eventually(lambda part=part: part in texts(user, marker))  # type: ignore[misc]


async def press(user: User, marker: str, label: str) -> None:
    """Presses the button of one thing among several."""

    def found() -> list[Any]:
        with user:
            return [each for each in ElementFilter(marker=marker) if label in str(each.props.get("aria-label", ""))]

    await eventually(lambda: len(found()) == 1)
    UserInteraction(user, set(found()), None).click()


def newest(user: User, marker: str) -> Any:
    """Of the dialogs that were opened, what is in the last one: a simulated browser hides none."""
    with user:
        return UserInteraction(user, {list(ElementFilter(marker=marker))[-1]}, None)
