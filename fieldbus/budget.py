"""Links over mobile radio: round trips of seconds, and bytes that are counted by the month.

`MobileLink` says what a link is like, and what follows for time-outs and blocks; `Budget` counts what an endpoint's
connection carried and holds readings back when it has had its share. Commands always pass, and are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from domain.errors import InvalidInput
from fieldbus.device import Limits
from fieldbus.faults import OverBudget
from fieldbus.profile import ModbusLimits

# IPv4 and TCP headers with the time stamp option (RFC 791, 9293, 7323). Each request and each answer is one segment;
# the answer acknowledges the request, and is acknowledged by a segment of its own.
SEGMENT_BYTES: Final = 52
SEGMENTS_PER_REQUEST: Final = 3
CONNECTION_BYTES: Final = 7 * SEGMENT_BYTES  # three to open, four to close
TLS_HANDSHAKE_BYTES: Final = 5_000  # two certificate chains of ordinary length
TLS_RECORD_BYTES: Final = 29  # header, nonce, authentication tag; one record each way
FRAME_BYTES: Final = 24  # Modbus TCP: 12 for the request, 9 and rarely more for the answer beside its registers

_MONTH_S: Final = 31 * 86_400.0  # the longest
_BURST_SHARE: Final = 1 / 62  # of the month's bytes: half a day's worth may go at once
_START_S: Final = 3600.0  # an hour's worth is there at the start: restarts shall not eat the month
_SEGMENT_PAYLOAD: Final = 1_348  # what a segment carries over mobile radio (1400 bytes)
_READS: Final = frozenset({1, 2, 3, 4, 0x2B})
_BIT_READS: Final = frozenset({1, 2})
_WIRED_ROUND_TRIP_S: Final = 0.05  # of a line that is counted, but not slow
_ROUND_TRIPS_TO_CONNECT: Final = 3  # one for TCP, two for TLS 1.2
# Secured OPC UA: TCP, hello, channel, offers; then TCP, hello, channel, session, login, and what the server can bear.
_ROUND_TRIPS_TO_A_SESSION: Final = 10
_PATIENCE: Final = 3.0  # round trips that a device is waited for: radio cells hand over


@dataclass(frozen=True, slots=True)
class MobileLink:
    """A link that is slow, or paid by the byte. `monthly_bytes` None: not counted."""

    round_trip_s: float = 2.0
    monthly_bytes: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.round_trip_s <= 60:
            raise InvalidInput.of("round_trip_s", f"{self.round_trip_s:g} is not within 0..60 s")
        if self.monthly_bytes is not None and self.monthly_bytes < 100_000:
            raise InvalidInput.of("monthly_bytes", "less than 100 000 bytes a month carries no device")

    @classmethod
    def of(cls, round_trip_ms: int, monthly_bytes: int) -> MobileLink | None:
        """A link as it is registered: zeros mean a wired network and no limit. None where both are 0."""
        if not (round_trip_ms or monthly_bytes):
            return None
        return cls(max(round_trip_ms / 1000, _WIRED_ROUND_TRIP_S), monthly_bytes or None)

    def limits(self, limits: Limits, *, session: bool = False) -> Limits:
        """Bounds that fit the round trips, with `session` those of OPC UA; never tighter than those given."""
        waiting_s = _PATIENCE * self.round_trip_s
        to_connect = _ROUND_TRIPS_TO_A_SESSION if session else _ROUND_TRIPS_TO_CONNECT
        return replace(
            limits,
            connect_timeout_s=max(limits.connect_timeout_s, to_connect * waiting_s),
            request_timeout_s=max(limits.request_timeout_s, waiting_s),
            read_deadline_s=max(limits.read_deadline_s, 10 * waiting_s),
            write_deadline_s=max(limits.write_deadline_s, 10 * waiting_s),
            backoff_initial_s=max(limits.backoff_initial_s, waiting_s),
            backoff_max_s=max(limits.backoff_max_s, 10 * waiting_s),
            confirm_timeout_s=max(limits.confirm_timeout_s, waiting_s),
            confirm_interval_s=max(limits.confirm_interval_s, self.round_trip_s),
            poll_interval_s=max(limits.poll_interval_s, 2 * self.round_trip_s),
            watchdog_interval_s=max(limits.watchdog_interval_s, 10 * waiting_s),
        )

    def product(self, product: ModbusLimits, *, tls: bool = False) -> ModbusLimits:
        """Blocks that fit the price of a request: registers that nobody asked for cost two bytes each, another request
        its headers. Never smaller gaps than the product's own."""
        return replace(product, max_gap=max(product.max_gap, request_overhead(tls) // 2))


def request_overhead(tls: bool = False) -> int:
    """Bytes that a request and its answer cost beside the values."""
    return SEGMENTS_PER_REQUEST * SEGMENT_BYTES + FRAME_BYTES + (2 * TLS_RECORD_BYTES if tls else 0)


class Budget:
    """The bytes of one endpoint: a bucket that fills at the pace of the month, so that no month of any start carries
    more readings than it may. Bytes of headers are estimated, of frames counted."""

    def __init__(self, link: MobileLink, monotonic: Callable[[], float], *, tls: bool = False) -> None:
        self._link = link
        self._monotonic = monotonic
        self._tls = tls
        monthly = link.monthly_bytes or 0
        self._burst = monthly * _BURST_SHARE
        self._rate = (monthly - self._burst) / _MONTH_S  # bytes a second
        self._level = min(self._burst, self._rate * _START_S)
        self._filled_at = monotonic()
        self.bytes_used = 0  # since the endpoint was opened
        self.readings_refused = 0
        self._commands_prepared = 0
        self.reported_bytes = 0  # that subscriptions bring when everything they report changes

    @property
    def link(self) -> MobileLink:
        """What the link can carry."""
        return self._link

    @property
    def round_trip_s(self) -> float:
        """Of the link, in seconds."""
        return self._link.round_trip_s

    @property
    def available_bytes(self) -> float:
        """What may be read now; infinite without a budget, negative after many commands."""
        if self._link.monthly_bytes is None:
            return float("inf")
        now = self._monotonic()
        self._level = min(self._burst, self._level + (now - self._filled_at) * self._rate)
        self._filled_at = now
        return self._level

    def before(self, function_code: int, payload: bytes) -> None:
        """Whether a request may go. Raises OverBudget for a reading that may not."""
        if self._link.monthly_bytes is None or function_code not in _READS or self._commands_prepared:
            return
        self.reading(request_overhead(self._tls) + _answer_bytes(function_code, payload))

    @contextmanager
    def for_command(self) -> Iterator[None]:
        """While a command is prepared readings pass, and are counted: light before bytes. So do those of the endpoint's
        other devices meanwhile, which is seldom and little."""
        self._commands_prepared += 1
        try:
            yield
        finally:
            self._commands_prepared -= 1

    def reading(self, cost: int) -> None:
        """Whether a reading of about this many bytes may go. Raises OverBudget where not."""
        wait_s = self.wait_s(cost)
        if wait_s > 0:
            self.readings_refused += 1
            raise OverBudget(f"the byte budget of this link is used up, next reading in {wait_s:.0f} s")

    def wait_s(self, cost: int) -> float:
        """Seconds until this many bytes may go, 0 for now. What is more than the bucket ever holds goes when that is
        full, and is paid for afterwards."""
        if self._link.monthly_bytes is None:
            return 0.0
        return max(0.0, min(cost, self._burst) - self.available_bytes) / self._rate

    def affords(self, each: int, most: int) -> int:
        """How many things of `each` bytes may be asked for at once: at least one, at most `most`."""
        if self._link.monthly_bytes is None:
            return most
        return max(1, min(most, int(self.available_bytes // each)))

    def pace_s(self, cost: int, share: float = 1.0) -> float:
        """Seconds between two things of `cost` bytes that a share of the link's bytes sustains; 0 without a budget."""
        return 0.0 if self._link.monthly_bytes is None else cost / (self._rate * share)

    def connecting(self) -> None:
        """A connection is about to be made."""
        self._spend(CONNECTION_BYTES + (TLS_HANDSHAKE_BYTES if self._tls else 0))

    def after(self, sent: int, received: int) -> None:
        """Frames of `sent` and `received` bytes went over the link; 0 received: no answer came."""
        segments = SEGMENTS_PER_REQUEST if received else 2
        records = (2 if received else 1) * TLS_RECORD_BYTES if self._tls else 0
        self._spend(sent + received + segments * SEGMENT_BYTES + records)

    def carried(self, sent: int, received: int) -> None:
        """Bytes went over the connection one way, in segments whose headers count; what came is acknowledged."""
        segments = -(-(sent + received) // _SEGMENT_PAYLOAD) + (1 if received else 0)
        self._spend(sent + received + segments * SEGMENT_BYTES)

    def least_interval_s(self, requests: Iterable[tuple[int, int]]) -> float:
        """Seconds between two readings of these requests (function code, bytes of registers or number of bits) that the
        link can sustain: within the month's bytes, and not before the last reading is back."""
        overhead = request_overhead(self._tls)
        each = [overhead + ((size + 7) // 8 if function in _BIT_READS else size) for function, size in requests]
        if not each:
            return 0.0
        slowest = len(each) * self._link.round_trip_s
        return slowest if self._link.monthly_bytes is None else max(slowest, sum(each) / self._rate)

    def _spend(self, count: int) -> None:
        self.bytes_used += count
        if self._link.monthly_bytes is not None:
            self._level = self.available_bytes - count


def _answer_bytes(function_code: int, payload: bytes) -> int:
    """Bytes of values that the answer to a reading will bring."""
    if len(payload) < 4:
        return 2 * 64  # identification: some texts
    count = payload[2] << 8 | payload[3]
    return (count + 7) // 8 if function_code in _BIT_READS else 2 * count
