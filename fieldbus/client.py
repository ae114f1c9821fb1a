"""Opening devices: `Fieldbus` holds what several devices share (connections, clock, limits) and nothing outlives it.

bus = Fieldbus(now=clock.now)
device = bus.open("modbus+tcp://10.1.2.3?unit=1", "intesis-dali")
batch = await device.read([PointAddress("level_actual", 0)])
await bus.close()
"""

from __future__ import annotations

import platform
import random
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final

from domain.errors import FailedPrecondition, InvalidInput
from fieldbus.budget import Budget, MobileLink
from fieldbus.device import Device, Limits
from fieldbus.modbus.device import ModbusDevice
from fieldbus.modbus.line.bus import ModbusBus
from fieldbus.modbus.line.links import link_maker
from fieldbus.opcua.device import OpcUaDevice
from fieldbus.opcua.link import OpcUaLink
from fieldbus.profile import Profile, Protocol
from fieldbus.profile_loader import load_profile
from fieldbus.security import FieldSecurity
from fieldbus.url import Endpoint, Scheme, SerialLine, parse_url
from fieldbus.values import unix_ms

# Limits that all devices of an OPC UA session share; the others are each device's own.
_OF_A_SESSION: Final = (
    "connect_timeout_s",
    "request_timeout_s",
    "backoff_initial_s",
    "backoff_max_s",
    "watchdog_interval_s",
)


class Fieldbus:
    """Devices that share connections. One event loop; close it when done."""

    def __init__(
        self,
        *,
        now: Callable[[], datetime],
        now_ms: Callable[[], int] | None = None,
        require_simulator: bool = False,
        limits: Limits | None = None,
        security: FieldSecurity | None = None,
        machine: str = "",
        monotonic: Callable[[], float] = time.monotonic,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        """`now` gives the instants of values (domain time), `now_ms` the same in Unix milliseconds where that is
        quicker than through a datetime: it is asked for each answer. `monotonic` and `uniform` give time and jitter of
        back-offs, `security` certificates and logins by endpoint, `machine` the name by which URLs of serial lines know
        this computer (default: its host name).

        With `require_simulator` every endpoint must identify itself as the simulator on each new connection, before
        anything else is read or written: FailedPrecondition otherwise.
        """
        self._now = now
        self._now_ms = now_ms or (lambda: unix_ms(now()))
        self._require_simulator = require_simulator
        self._limits = limits or Limits()
        self._security = security or FieldSecurity()
        self._machine = (machine or platform.node()).lower()
        self._monotonic = monotonic
        self._uniform = uniform
        self._buses: dict[tuple[Scheme, str, int], tuple[ModbusBus, SerialLine | None, MobileLink | None]] = {}
        self._links: dict[str, OpcUaLink] = {}
        self._budgets: dict[tuple[Scheme, str, int], Budget] = {}  # kept: closing and opening again fills no bucket
        self._users: dict[object, int] = {}
        self._devices: list[ModbusDevice | OpcUaDevice] = []
        self._closed = False

    def open(
        self, url: str, profile: str | Profile, *, limits: Limits | None = None, link: MobileLink | None = None
    ) -> Device:
        """A device; nothing is connected before its first use. Devices on one host and port share a connection.

        `link` says that it lies behind mobile radio: time-outs and blocks follow, and bytes are counted for all devices
        of the endpoint together. A device that says nothing of link or limits takes those that the connection has.

        Raises InvalidInput for a wrong URL or profile, and for an endpoint that is connected already over another kind
        of link or with other limits of the connection; NotFound for an unknown profile.
        """
        if self._closed:
            raise FailedPrecondition.of("fieldbus", "was closed")
        endpoint = parse_url(url)
        if endpoint.machine not in ("", "localhost", self._machine):
            raise InvalidInput.of("url", f"the serial line hangs at {endpoint.machine}, this is {self._machine}")
        described = load_profile(profile) if isinstance(profile, str) else profile
        if endpoint.scheme.is_modbus != (described.protocol is Protocol.MODBUS):
            raise InvalidInput.of(
                "url", f"profile {described.name} is for {described.protocol.value}, the URL says {endpoint.scheme}"
            )
        described = described.shifted(endpoint.base)
        device: ModbusDevice | OpcUaDevice
        if endpoint.scheme.is_modbus:
            device = self._open_modbus(endpoint, described, limits or self._limits, link)
        else:
            device = self._open_opcua(endpoint, described, limits, link)
        self._devices.append(device)
        return device

    async def close(self) -> None:
        """Close all devices and connections."""
        self._closed = True
        for device in list(self._devices):
            await device.close()
        for link in self._links.values():
            await link.close()
        for bus, _, _ in self._buses.values():
            bus.close()
        self._devices.clear()
        self._links.clear()
        self._buses.clear()

    def _open_modbus(
        self, endpoint: Endpoint, profile: Profile, limits: Limits, link: MobileLink | None
    ) -> ModbusDevice:
        shared = self._buses.get(endpoint.bus)
        if shared is None:
            shared = self._buses[endpoint.bus] = self._new_bus(endpoint, limits, link)
        bus, line, link_of_bus = shared
        if endpoint.line != line:
            raise InvalidInput.of("url", f"{endpoint.host} is in use at {line}, and a line has one speed")
        _check_same(endpoint, link, link_of_bus)
        if link_of_bus is not None:
            tls = endpoint.scheme is Scheme.MODBUS_TLS
            limits = link_of_bus.limits(limits)
            profile = replace(profile, modbus=link_of_bus.product(profile.modbus, tls=tls))
        self._users[bus] = self._users.get(bus, 0) + 1

        def release() -> None:
            self._devices.remove(device)
            if self._last_user_left(bus):
                self._buses.pop(endpoint.bus, None)
                bus.close()

        device = ModbusDevice(
            bus,
            endpoint,
            profile,
            limits,
            now=self._now,
            now_ms=self._now_ms,
            monotonic=self._monotonic,
            uniform=self._uniform,
            require_simulator=self._require_simulator,
            release=release,
        )
        return device

    def _new_bus(
        self, endpoint: Endpoint, limits: Limits, link: MobileLink | None
    ) -> tuple[ModbusBus, SerialLine | None, MobileLink | None]:
        """A bus, and what is the same for all its devices."""
        budget = None
        if link is not None:
            limits = link.limits(limits)
            budget = self._budget(endpoint, link)
        new_link = link_maker(endpoint, self._security)
        return ModbusBus(new_link, limits, self._monotonic, self._uniform, budget=budget), endpoint.line, link

    def _open_opcua(
        self, endpoint: Endpoint, profile: Profile, given: Limits | None, mobile: MobileLink | None
    ) -> OpcUaDevice:
        # Paths of one server are sessions of their own over the same line.
        for known in self._links.values():
            if known.endpoint.bus == endpoint.bus:
                line = None if known.budget is None else known.budget.link
                _check_same(endpoint, mobile, line)
                mobile = line
        limits = given or self._limits
        if mobile is not None:
            limits = mobile.limits(limits, session=True)
        link = self._links.get(endpoint.url)
        if link is None:
            link = self._links[endpoint.url] = OpcUaLink(
                endpoint,
                limits,
                self._monotonic,
                self._uniform,
                require_simulator=self._require_simulator,
                security=self._security.opc(endpoint),
                budget=None if mobile is None else self._budget(endpoint, mobile),
            )
        elif given is not None:
            _check_limits(endpoint, limits, link.limits)
        self._users[link] = self._users.get(link, 0) + 1

        async def release() -> None:
            self._devices.remove(device)
            if self._last_user_left(link):
                self._links.pop(endpoint.url, None)
                await link.close()

        device = OpcUaDevice(link, endpoint, profile, limits, now=self._now, monotonic=self._monotonic, release=release)
        return device

    def _budget(self, endpoint: Endpoint, link: MobileLink) -> Budget:
        budget = self._budgets.get(endpoint.bus)
        if budget is None or budget.link != link:
            tls = endpoint.scheme is Scheme.MODBUS_TLS
            budget = self._budgets[endpoint.bus] = Budget(link, self._monotonic, tls=tls)
        return budget

    def _last_user_left(self, shared: object) -> bool:
        self._users[shared] -= 1
        if self._users[shared]:
            return False
        del self._users[shared]
        return True


def _check_same(endpoint: Endpoint, asked: MobileLink | None, standing: MobileLink | None) -> None:
    if asked not in (None, standing):
        raise InvalidInput.of("link", f"{endpoint.authority} is connected already, over another kind of link")


def _check_limits(endpoint: Endpoint, asked: Limits, standing: Limits) -> None:
    """Raises InvalidInput where what a session has once for all its devices would have to be two things."""
    other = [name for name in _OF_A_SESSION if getattr(asked, name) != getattr(standing, name)]
    if other:
        raise InvalidInput.of(
            "limits", f"{endpoint.authority} is connected already, with another {', '.join(sorted(other))}"
        )
