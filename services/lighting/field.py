"""The field devices that lighting owns: opened when they are first needed, closed when the registry says otherwise.

A device and its profile together are a `Link`. Not here: what is read and written (gateway.py, cabinet.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import urlsplit

from domain.errors import FailedPrecondition, InvalidInput, LichtbuchError
from fieldbus.budget import MobileLink
from fieldbus.device import Device
from fieldbus.profile import Profile
from fieldbus.profile_loader import load_profile
from fieldbus.values import DeviceState, PointAddress, Quality, ValueBatch, WriteOutcome, WriteRequest, WriteResult
from services.lighting.abilities import (
    ControllerAbilities,
    GatewayAbilities,
    controller_abilities,
    gateway_abilities,
)
from services.lighting.records import EndpointRecord, EndpointState

_log = logging.getLogger(__name__)

_CLOSING_WITHIN_S: Final = 5.0

NOT_USABLE: Final = "not_usable"
"""Health of an endpoint whose URL or profile is wrong, or that is not the simulator where it must be."""
OVER_BUDGET: Final = "over_budget"
"""Health of an endpoint whose link has carried its bytes for now: it is told what is due, and not read."""

_HEADROOM: Final = 1.25  # of the bytes of a month a fifth is kept for commands and connecting
_NEVER: Final = float("-inf")


class Opener(Protocol):
    """What opens devices: fieldbus.client.Fieldbus, or a fake town in tests."""

    def open(self, url: str, profile: str | Profile, *, link: MobileLink | None = None) -> Device:
        """A device that has not connected yet; `link` where it is reached by mobile radio. Raises InvalidInput or
        NotFound."""
        ...

    async def close(self) -> None:
        """Closes all devices."""
        ...


@dataclass(slots=True)
class Pace:
    """When something was asked over a link, and when it answered: monotonic real seconds. `least_s`: between two
    readings; 0 where the link sets no pace."""

    asked_at: float = _NEVER
    answered_at: float = _NEVER
    least_s: float = 0.0

    def may_ask(self, monotonic: float) -> bool:
        """Whether the link bears another reading."""
        return monotonic >= self.asked_at + self.least_s

    def is_fresh(self, monotonic: float, stale_real_s: float) -> bool:
        """Whether it answered lately enough to write on. A slow link is given its own time: one lost reading does not
        make a device stale, two do."""
        return monotonic - self.answered_at <= max(stale_real_s, 2.5 * self.least_s)


@dataclass
class Link:
    """An endpoint with its device. `problem` says why it cannot be used; then nothing is asked of it."""

    endpoint: EndpointRecord
    device: Device
    profile: Profile
    gateway: GatewayAbilities
    controller: ControllerAbilities
    problem: str = ""
    closed: bool = False
    over_budget: bool = False
    """Whether the last reading was held back, wholly or in part, because the link has carried its bytes for now."""
    sharing: int = 1
    """Endpoints on the same connection: they share what it may carry."""
    paces: dict[str, Pace] = field(default_factory=dict)
    """By the uid of what is read; outlives changes of the inventory, as the bytes do that were spent."""

    @property
    def may_write(self) -> bool:
        """True while a named person has released it into control."""
        return self.endpoint.state == EndpointState.IN_CONTROL and not self.problem

    @property
    def may_test(self) -> bool:
        """True while single luminaires may be written on behalf of a person who tests them."""
        return self.endpoint.state in (EndpointState.TESTED, EndpointState.IN_CONTROL) and not self.problem

    @property
    def is_counted(self) -> bool:
        """Whether its bytes are counted."""
        return self.endpoint.monthly_bytes > 0

    async def read(self, points: tuple[PointAddress, ...]) -> ValueBatch | None:
        """Values, MISSING where it does not answer; None where it cannot be used at all."""
        if self.problem:
            return None
        try:
            batch = await self.device.read(points)
        except (FailedPrecondition, InvalidInput) as error:
            self._refuse(error)
            return None
        self._note_budget(batch)
        return batch

    def least_interval_s(self, points: tuple[PointAddress, ...]) -> float:
        """Real seconds between two readings of these points that the link bears, with bytes left for commands."""
        if self.problem or self.closed:
            return 0.0
        return self.device.least_interval_s(points) * _HEADROOM * self.sharing

    def pace(self, uid: str) -> Pace:
        """The pace of what is read over this link."""
        return self.paces.setdefault(uid, Pace())

    async def write(
        self, requests: Sequence[WriteRequest], *, verify: bool = False, test: bool = False
    ) -> list[WriteResult]:
        """Outcomes in the order asked. What shows the effect is read by the caller, unless `verify` is wanted.

        test: this belongs to a test that a person asked for.
        """
        if not requests:
            return []
        try:
            if not (self.may_test if test else self.may_write):
                raise FailedPrecondition.of("endpoint", f"{self.endpoint.id} is not in control")
            return await self.device.write(requests, verify=verify)
        except (FailedPrecondition, InvalidInput) as error:
            self._refuse(error)
            return [WriteResult(request.address, WriteOutcome.REFUSED, str(error)) for request in requests]

    def health(self) -> str:
        """A word for metrics."""
        if self.problem:
            return NOT_USABLE
        return OVER_BUDGET if self.over_budget else str(self.device.health().state)

    def _note_budget(self, batch: ValueBatch) -> None:
        """Silence of the device and silence of ours look alike in a batch; the device says which it was."""
        health = self.device.health() if bool((batch.quality == Quality.MISSING).any()) else None
        held_back = health is not None and health.over_budget
        if held_back != self.over_budget:
            if held_back:
                why = "" if health is None else health.last_error
                _log.warning("endpoint %s is commanded without being read back: %s", self.endpoint.id, why)
            else:
                _log.info("endpoint %s may be read again", self.endpoint.id)
        self.over_budget = held_back

    def _refuse(self, error: LichtbuchError) -> None:
        if not self.problem:
            _log.error("endpoint %s cannot be used: %s", self.endpoint.id, error)
        self.problem = str(error)


class Field:
    """The links by endpoint uid."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._links: dict[str, Link] = {}
        self._at_place: dict[str, list[str]] = {}
        self._failed: dict[str, EndpointRecord] = {}
        self._closing: dict[str, asyncio.Task[None]] = {}
        self._closing_places: dict[str, str] = {}
        self._abilities: dict[str, tuple[Profile, GatewayAbilities, ControllerAbilities]] = {}
        self.revision = 0
        """Another number when links were opened or closed."""

    def link(self, endpoint: EndpointRecord) -> Link | None:
        """The link of an endpoint; None for one that is only planned, or whose URL or profile is wrong."""
        link = self._links.get(endpoint.uid)
        if link is not None:
            return link
        if endpoint.state == EndpointState.PLANNED or self._failed.get(endpoint.uid) == endpoint:
            return None
        if endpoint.uid in self._closing or _place(endpoint) in self._closing_places.values():
            return None  # the old connection is on its way out, and many a device bears only one
        try:
            profile, gateway, controller = self._described(endpoint.profile)
            device = self._opener.open(
                endpoint.url, profile, link=MobileLink.of(endpoint.round_trip_ms, endpoint.monthly_bytes)
            )
        except LichtbuchError as error:
            _log.error("endpoint %s cannot be opened: %s", endpoint.id, error)
            self._failed[endpoint.uid] = endpoint
            return None
        link = self._links[endpoint.uid] = Link(endpoint, device, profile, gateway, controller)
        self._at_place.setdefault(_place(endpoint), []).append(endpoint.uid)
        self.revision += 1
        self._share(_place(endpoint))
        return link

    def settle(self, endpoints: Sequence[EndpointRecord]) -> None:
        """Takes a new list: what is gone, only planned or somewhere else is closed; a new state is taken at once."""
        wanted = {e.uid: e for e in endpoints if e.state != EndpointState.PLANNED}
        self._failed.clear()  # what was wrong with one may have been another's doing: units of a gateway share a line
        for uid, link in list(self._links.items()):
            endpoint = wanted.get(uid)
            if endpoint is not None and endpoint.device == link.endpoint.device:
                link.endpoint = endpoint
                continue
            del self._links[uid]
            self.revision += 1
            self._at_place[_place(link.endpoint)].remove(uid)
            self._share(_place(link.endpoint))
            link.closed = True
            # In the background: a device that hangs must not hold up the others.
            self._closing_places[uid] = _place(link.endpoint)
            self._closing[uid] = asyncio.create_task(self._close(uid, link), name=f"closing {link.endpoint.id}")

    def health(self, endpoints: Sequence[EndpointRecord]) -> dict[str, int]:
        """How many endpoints are in which state."""
        counts: dict[str, int] = {str(state): 0 for state in DeviceState}
        counts |= {NOT_USABLE: 0, OVER_BUDGET: 0, "planned": 0}
        for endpoint in endpoints:
            link = self._links.get(endpoint.uid)
            if endpoint.state == EndpointState.PLANNED:
                counts["planned"] += 1
            elif link is None:
                counts[NOT_USABLE if endpoint.uid in self._failed else str(DeviceState.UNTRIED)] += 1
            else:
                counts[link.health()] += 1
        return counts

    async def close(self) -> None:
        """Closes every device."""
        for link in self._links.values():
            link.closed = True
        self._links.clear()
        self._at_place.clear()
        if self._closing:
            await asyncio.wait(self._closing.values(), timeout=_CLOSING_WITHIN_S)
        await self._opener.close()

    def _share(self, place: str) -> None:
        """Tells those at a place how many share its connection."""
        users = self._at_place[place]
        for uid in users:
            self._links[uid].sharing = len(users)

    async def _close(self, uid: str, link: Link) -> None:
        try:
            await link.device.close()
        except LichtbuchError as error:
            _log.warning("endpoint %s did not close in order: %s", link.endpoint.id, error)
        finally:
            del self._closing[uid], self._closing_places[uid]

    def _described(self, name: str) -> tuple[Profile, GatewayAbilities, ControllerAbilities]:
        if name not in self._abilities:
            profile = load_profile(name)
            self._abilities[name] = (profile, gateway_abilities(profile), controller_abilities(profile))
        return self._abilities[name]


def _place(endpoint: EndpointRecord) -> str:
    """Host and port, or the serial line: endpoints that have it in common share a connection."""
    parts = urlsplit(endpoint.url)
    return f"{parts.netloc}{parts.path}" if parts.scheme == "modbus+rtu" else parts.netloc
