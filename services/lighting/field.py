"""The field devices that lighting owns: opened when they are first needed, closed when the registry says otherwise.

A device and its profile together are a `Link`. Not here: what is read and written (gateway.py, cabinet.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from domain.errors import FailedPrecondition, InvalidInput, LichtbuchError
from fieldbus.budget import MobileLink
from fieldbus.device import Device
from fieldbus.profile import Profile
from fieldbus.profile_loader import load_profile
from fieldbus.values import DeviceState, PointAddress, ValueBatch, WriteOutcome, WriteRequest, WriteResult
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


class Opener(Protocol):
    """What opens devices: fieldbus.client.Fieldbus, or a fake town in tests."""

    def open(self, url: str, profile: str | Profile, *, link: MobileLink | None = None) -> Device:
        """A device that has not connected yet; `link` where it is reached by mobile radio. Raises InvalidInput or
        NotFound."""
        ...

    async def close(self) -> None:
        """Closes all devices."""
        ...


@dataclass
class Link:
    """An endpoint with its device. `problem` says why it cannot be used; then nothing is asked of it."""

    endpoint: EndpointRecord
    device: Device
    gateway: GatewayAbilities
    controller: ControllerAbilities
    problem: str = ""

    @property
    def may_write(self) -> bool:
        """True while a named person has released it into control."""
        return self.endpoint.state == EndpointState.IN_CONTROL and not self.problem

    async def read(self, points: tuple[PointAddress, ...]) -> ValueBatch | None:
        """Values, MISSING where it does not answer; None where it cannot be used at all."""
        if self.problem:
            return None
        try:
            return await self.device.read(points)
        except (FailedPrecondition, InvalidInput) as error:
            self._refuse(error)
            return None

    async def write(self, requests: Sequence[WriteRequest]) -> list[WriteResult]:
        """Outcomes in the order asked. What shows the effect is read by the caller."""
        if not requests:
            return []
        try:
            if not self.may_write:
                raise FailedPrecondition.of("endpoint", f"{self.endpoint.id} is not in control")
            return await self.device.write(requests, verify=False)
        except (FailedPrecondition, InvalidInput) as error:
            self._refuse(error)
            return [WriteResult(request.address, WriteOutcome.REFUSED, str(error)) for request in requests]

    def health(self) -> str:
        """A word for metrics."""
        return NOT_USABLE if self.problem else str(self.device.health().state)

    def _refuse(self, error: LichtbuchError) -> None:
        if not self.problem:
            _log.error("endpoint %s cannot be used: %s", self.endpoint.id, error)
        self.problem = str(error)


class Field:
    """The links by endpoint uid."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._links: dict[str, Link] = {}
        self._failed: dict[str, EndpointRecord] = {}
        self._closing: dict[str, asyncio.Task[None]] = {}
        self._abilities: dict[str, tuple[Profile, GatewayAbilities, ControllerAbilities]] = {}

    def link(self, endpoint: EndpointRecord) -> Link | None:
        """The link of an endpoint; None for one that is only planned, or whose URL or profile is wrong."""
        link = self._links.get(endpoint.uid)
        if link is not None:
            return link
        if endpoint.state == EndpointState.PLANNED or self._failed.get(endpoint.uid) == endpoint:
            return None
        if endpoint.uid in self._closing:
            return None  # its old connection is on its way out, and many a device bears only one
        try:
            profile, gateway, controller = self._described(endpoint.profile)
            device = self._opener.open(
                endpoint.url, profile, link=MobileLink.of(endpoint.round_trip_ms, endpoint.monthly_bytes)
            )
        except LichtbuchError as error:
            _log.error("endpoint %s cannot be opened: %s", endpoint.id, error)
            self._failed[endpoint.uid] = endpoint
            return None
        link = self._links[endpoint.uid] = Link(endpoint, device, gateway, controller)
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
            # In the background: a device that hangs must not hold up the others.
            self._closing[uid] = asyncio.create_task(self._close(uid, link), name=f"closing {link.endpoint.id}")

    def health(self, endpoints: Sequence[EndpointRecord]) -> dict[str, int]:
        """How many endpoints are in which state."""
        counts: dict[str, int] = {str(state): 0 for state in DeviceState} | {NOT_USABLE: 0, "planned": 0}
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
        self._links.clear()
        if self._closing:
            await asyncio.wait(self._closing.values(), timeout=_CLOSING_WITHIN_S)
        await self._opener.close()

    async def _close(self, uid: str, link: Link) -> None:
        try:
            await link.device.close()
        except LichtbuchError as error:
            _log.warning("endpoint %s did not close in order: %s", link.endpoint.id, error)
        finally:
            del self._closing[uid]

    def _described(self, name: str) -> tuple[Profile, GatewayAbilities, ControllerAbilities]:
        if name not in self._abilities:
            profile = load_profile(name)
            self._abilities[name] = (profile, gateway_abilities(profile), controller_abilities(profile))
        return self._abilities[name]
