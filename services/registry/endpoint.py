"""Field endpoints: whose they are, and how they come into control step by step. Pure.

A gateway is planned, observed, tested or in control; until a named person releases it, nothing is written to it
outside of a test. Where it answers is checked in field_url.py.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, Self

from domain.errors import FailedPrecondition, InvalidInput, NotPermitted
from services.registry.field_url import FieldUrl, parse_field_url

MAX_DISPLAY_NAME_BYTES: Final = 200
MAX_PROFILE_BYTES: Final = 100
LEAST_MONTHLY_BYTES: Final = 1_000_000


class State(StrEnum):
    """How far an endpoint has come. Declared in the order of the way into control."""

    PLANNED = "planned"
    OBSERVED = "observed"
    TESTED = "tested"
    IN_CONTROL = "in_control"


class Owner(StrEnum):
    """The one service that connects to an endpoint."""

    LIGHTING = "lighting"
    METERING = "metering"
    BUILDING = "building"


_WAY: Final = tuple(State)


@dataclass(frozen=True, slots=True)
class FieldLink:
    """What the connection can carry. Zeros: a wired network without a limit."""

    round_trip_ms: int = 0
    """Time that a request and its answer usually take on the way."""
    monthly_bytes: int = 0
    """Bytes that may be moved in a calendar month, both directions together."""

    def __post_init__(self) -> None:
        """Raises InvalidInput for a budget that not even a sign of life an hour would fit into."""
        if 0 < self.monthly_bytes < LEAST_MONTHLY_BYTES:
            raise InvalidInput.of("link.monthly_bytes", f"0 for no limit, or at least {LEAST_MONTHLY_BYTES}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A device or gateway in the field."""

    uid: str
    municipality_uid: str
    id: str
    display_name: str
    address: FieldUrl
    profile: str
    owner: Owner
    state: State = State.PLANNED
    released_by: str = ""
    released_at: datetime | None = None
    version: int = 1
    link: FieldLink = FieldLink()

    def moved_to(self, target: State, *, by: str, is_person: bool, at: datetime) -> Self:
        """The endpoint in another state. `by` is the subject of whoever moves it, `at` the domain instant.

        Forward one state at a time, backward always. Raises FailedPrecondition for a step that does not exist,
        NotPermitted when anything but a person would release it into control.
        """
        here, there = _WAY.index(self.state), _WAY.index(target)
        if there == here:
            raise FailedPrecondition.of("state", f"the endpoint is {_word(self.state)} already")
        if there > here + 1:
            following = _word(_WAY[here + 1])
            raise FailedPrecondition.of("state", f"from {_word(self.state)} the next state is {following}")
        if target is not State.IN_CONTROL:
            return replace(self, state=target, released_by="", released_at=None)
        if not is_person:
            raise NotPermitted("only a person may release an endpoint into control")
        return replace(self, state=target, released_by=by, released_at=at)

    def changed(
        self,
        *,
        display_name: str | None = None,
        url: str | None = None,
        profile: str | None = None,
        link: FieldLink | None = None,
    ) -> Self:
        """The endpoint with other values; None leaves one as it is. Raises InvalidInput.

        Another address or profile means another device as far as anybody has tested: it falls back to observed. Another
        display name or link changes nothing about control.
        """
        after = replace(
            self,
            display_name=self.display_name if display_name is None else check_display_name(display_name),
            address=self.address if url is None else parse_field_url(url),
            profile=self.profile if profile is None else check_profile(profile),
            link=self.link if link is None else link,
        )
        same_device = after.profile == self.profile and after.address.url == self.address.url
        if same_device or _WAY.index(self.state) <= _WAY.index(State.OBSERVED):
            return after
        return replace(after, state=State.OBSERVED, released_by="", released_at=None)


def check_display_name(text: str) -> str:
    """The display name, white space around it removed; it may be empty. Raises InvalidInput."""
    name = text.strip()
    if len(name.encode()) > MAX_DISPLAY_NAME_BYTES:
        raise InvalidInput.of("display_name", f"longer than {MAX_DISPLAY_NAME_BYTES} bytes")
    return name


def check_profile(text: str) -> str:
    """The name of a device profile. Whether there is one is known to the service that owns the endpoint."""
    allowed = set("abcdefghijklmnopqrstuvwxyz0123456789-")
    if not text or len(text) > MAX_PROFILE_BYTES or not set(text) <= allowed or text.startswith("-"):
        raise InvalidInput.of("profile", "lower-case letters, digits and hyphens are needed, as in eastron-sdm630")
    return text


def _word(state: State) -> str:
    return state.value.replace("_", " ")
