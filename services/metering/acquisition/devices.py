"""The devices behind the endpoints: opened when needed, opened anew when their address changes, closed when gone."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Protocol

from domain.errors import LichtbuchError
from fieldbus.budget import MobileLink
from fieldbus.device import Device
from services.metering.acquisition.target import Target

_log = logging.getLogger(__name__)


class Opener(Protocol):
    """What opens devices: `fieldbus.client.Fieldbus`, or a test's own field."""

    def open(self, url: str, profile: str, *, link: MobileLink | None = None) -> Device:
        """A device, `link` where it is reached by mobile radio; nothing is connected before its first use.

        Raises LichtbuchError for a wrong URL or profile.
        """
        ...


class Devices:
    """One device per endpoint."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._open: dict[str, tuple[str, str, MobileLink | None, Device]] = {}
        self._complained: dict[str, str] = {}

    async def of(self, target: Target) -> Device | None:
        """The device that a target is read from; None for an endpoint that nobody can open."""
        known = self._open.get(target.endpoint_uid)
        link = MobileLink.of(target.round_trip_ms, target.monthly_bytes)
        if known is not None:
            if known[:3] == (target.url, target.profile, link):
                return known[3]
            await self._close(target.endpoint_uid)
        try:
            device = self._opener.open(target.url, target.profile, link=link)
        except LichtbuchError as error:
            self.complain(target, error)
            return None
        self._open[target.endpoint_uid] = (target.url, target.profile, link, device)
        return device

    def opened(self, endpoint_uid: str) -> Device | None:
        """The device of an endpoint, if it is open."""
        known = self._open.get(endpoint_uid)
        return None if known is None else known[3]

    async def keep_only(self, endpoint_uids: Iterable[str]) -> None:
        """Closes the devices of all other endpoints."""
        kept = set(endpoint_uids)
        for uid in [uid for uid in self._open if uid not in kept]:
            await self._close(uid)

    async def close(self) -> None:
        """Closes all."""
        await self.keep_only(())

    def complain(self, target: Target, error: LichtbuchError) -> None:
        """Logs what is wrong with an endpoint, once until it is something else."""
        if self._complained.get(target.endpoint_uid) != str(error):
            self._complained[target.endpoint_uid] = str(error)
            _log.error("the endpoint of %s at %s cannot be read: %s", target.name, target.url, error)

    async def _close(self, uid: str) -> None:
        device = self._open.pop(uid)[3]
        try:
            await device.close()
        except Exception:
            _log.exception("closing a device failed")
