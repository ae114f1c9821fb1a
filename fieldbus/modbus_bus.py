"""What all units behind one host and port share: the connection, one request at a time, pauses, reconnecting.

A dead connection is tried again once per back-off, whoever asks; everybody else is told at once that it is down.
Back-off of a single silent unit is the device's business (modbus.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from fieldbus.backoff import Backoff
from fieldbus.device import Limits
from fieldbus.faults import AnswerLost, DeviceException, LinkDown, Malformed, NoAnswer
from fieldbus.modbus_link import ModbusLink
from fieldbus.profile import ModbusLimits
from fieldbus.url import Endpoint, Scheme
from fieldbus.values import Counters

_SILENT_REQUESTS_BEFORE_RECONNECT: Final = 3


class LinkRenewed(Exception):
    """The connection is another one than the caller knew: it has to look again whom it is talking to."""


class ModbusBus:
    """A shared connection."""

    def __init__(
        self, endpoint: Endpoint, limits: Limits, monotonic: Callable[[], float], uniform: Callable[[], float]
    ) -> None:
        self._endpoint = endpoint
        self._limits = limits
        self._monotonic = monotonic
        self._lock = asyncio.Lock()
        self._link = ModbusLink(endpoint)
        self._not_before = float("-inf")
        self._silent = 0
        self._closed = False
        self.backoff = Backoff(limits.backoff_initial_s, limits.backoff_max_s, monotonic, uniform)
        self.generation = 0  # of the connection: grows with every one made

    @property
    def connected(self) -> bool:
        """Whether the connection stands."""
        return self._link.connected

    async def exchange(
        self,
        unit: int,
        function_code: int,
        payload: bytes,
        *,
        timeout_s: float,
        product: ModbusLimits,
        counters: Counters,
        generation: int | None = None,
    ) -> bytes:
        """One request and its answer, when it is this caller's turn.

        With `generation` the request is only sent over that very connection: LinkRenewed otherwise. Raises LinkDown,
        NoAnswer, AnswerLost, Malformed, DeviceException.
        """
        async with self._lock:
            await self._ensure_connected(product)
            if generation is not None and generation != self.generation:
                raise LinkRenewed
            await self._keep_pause()
            counters.requests += 1
            counters.bytes_sent += self._link.frame_overhead + 1 + len(payload)
            discarded = self._link.discarded
            try:
                answer = await self._link.request(unit, function_code, payload, timeout_s)
            except DeviceException:
                self._silent = 0
                counters.answers += 1
                counters.exceptions += 1
                counters.bytes_received += self._link.frame_overhead + 2
                raise
            except NoAnswer:
                counters.timeouts += 1
                self._after_silence()
                raise
            except AnswerLost:
                counters.connection_losses += 1
                self._link.close()
                raise
            except Malformed:
                counters.discarded += 1
                raise
            finally:
                counters.discarded += self._link.discarded - discarded
                self._not_before = self._monotonic() + product.pause_s
            self._silent = 0
            counters.answers += 1
            counters.bytes_received += self._link.frame_overhead + 1 + len(answer)
            return answer

    async def ensure_connected(self, product: ModbusLimits) -> int:
        """The generation of a standing connection. Raises LinkDown."""
        async with self._lock:
            await self._ensure_connected(product)
            return self.generation

    def reset(self) -> None:
        """Drop the connection: what comes next over it could not be trusted."""
        self._link.close()

    def close(self) -> None:
        """Drop the connection for good."""
        self._closed = True
        self._link.close()

    async def _ensure_connected(self, product: ModbusLimits) -> None:
        if self._closed:
            raise LinkDown("the bus was closed")
        if self._link.connected:
            return
        if not self.backoff.ready:
            raise LinkDown(f"no connection, next attempt in {self.backoff.remaining_s:.1f} s")
        try:
            await self._link.connect(self._limits.connect_timeout_s)
        except LinkDown:
            self.backoff.failed()
            raise
        self.backoff.succeeded()
        self.generation += 1
        self._silent = 0
        self._not_before = self._monotonic() + product.connect_pause_s

    async def _keep_pause(self) -> None:
        wait_s = self._not_before - self._monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    def _after_silence(self) -> None:
        self._silent += 1
        if self._endpoint.scheme is Scheme.MODBUS_RTU_TCP or self._silent >= _SILENT_REQUESTS_BEFORE_RECONNECT:
            # RTU: a late answer would pass for the next one. TCP: the other end may be gone without a word.
            self._link.close()
            self._silent = 0
