"""One Modbus connection over TCP: bytes of a request out, bytes of its answer in. Built on pymodbus' async client.

Who may speak when, pauses and back-off are the bus's business (modbus_bus.py); what bytes mean, the device's.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerType

from fieldbus.faults import AnswerLost, DeviceException, LinkDown, Malformed, NoAnswer
from fieldbus.modbus_frames import NO_REQUEST, RawPdu, StrictRtuFramer, StrictSocketFramer
from fieldbus.url import Endpoint, Scheme

_EXCEPTION_BIT: Final = 0x80


class ModbusLink:
    """A connection that is made, used by one request at a time, and thrown away when in doubt."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._client: AsyncModbusTcpClient | None = None
        self._framer: StrictSocketFramer | StrictRtuFramer | None = None
        self._discarded_before = 0
        _quieten_pymodbus()

    @property
    def connected(self) -> bool:
        """Whether a request can be sent."""
        return self._client is not None and self._client.connected

    @property
    def discarded(self) -> int:
        """Frames that were no answer to any request of ours, over all connections so far."""
        return self._discarded_before + (self._framer.discarded if self._framer else 0)

    @property
    def frame_overhead(self) -> int:
        """Bytes on the wire beside function code and payload."""
        return 7 if self._endpoint.scheme is Scheme.MODBUS_TCP else 3

    async def connect(self, timeout_s: float) -> None:
        """Connect anew. Raises LinkDown."""
        self.close()
        client = AsyncModbusTcpClient(
            self._endpoint.host,
            port=self._endpoint.port,
            framer=FramerType.SOCKET,
            name=str(self._endpoint),
            reconnect_delay=0,  # the bus reconnects, with its own back-off
            retries=0,  # a retry would hide a silent device and double the load of a sick one
            timeout=timeout_s,
            trace_connect=self._connection_changed,
        )
        strict = StrictSocketFramer if self._endpoint.scheme is Scheme.MODBUS_TCP else StrictRtuFramer
        framer = strict(self._desynchronised)
        client.ctx.framer = framer
        client.ctx.max_buffer_size = framer.MAX_SIZE
        self._framer, self._client = framer, client
        try:
            connected = await client.connect()
        except (OSError, ModbusException) as error:
            self.close()
            raise LinkDown(f"cannot connect to {self._endpoint}: {error}") from None
        except asyncio.CancelledError:
            self.close()
            raise
        if not connected:
            self.close()
            raise LinkDown(f"cannot connect to {self._endpoint.host}:{self._endpoint.port}")

    async def request(self, unit: int, function_code: int, payload: bytes, timeout_s: float) -> bytes:
        """The payload of the answer, function code stripped.

        Raises LinkDown (nothing sent), NoAnswer, AnswerLost, or DeviceException.
        """
        client, framer = self._client, self._framer
        if client is None or framer is None or not client.connected:
            raise LinkDown(f"not connected to {self._endpoint.host}:{self._endpoint.port}")
        client.ctx.comm_params.timeout_connect = timeout_s
        framer.expected_function = function_code
        try:
            answer = await client.execute(False, RawPdu(unit, function_code, payload))
        except OSError as error:
            raise AnswerLost(f"connection to {self._endpoint.host}:{self._endpoint.port} broke: {error}") from None
        except ModbusException:
            if not client.connected:
                raise AnswerLost(f"connection to {self._endpoint.host}:{self._endpoint.port} broke") from None
            raise NoAnswer(f"unit {unit} did not answer within {timeout_s:g} s") from None
        finally:
            framer.expected_function = NO_REQUEST
        if not isinstance(answer, RawPdu):
            raise Malformed(f"unit {unit} gave no answer that could be read")
        if answer.function_code & _EXCEPTION_BIT:
            if len(answer.payload) != 1:
                raise Malformed(f"unit {unit} answered with an exception of {len(answer.payload)} bytes")
            raise DeviceException(answer.payload[0])
        return answer.payload

    def close(self) -> None:
        """Drop the connection; a request under way ends with AnswerLost."""
        client, self._client = self._client, None
        if self._framer is not None:
            self._discarded_before += self._framer.discarded
            self._framer = None
        if client is not None:
            self._fail_outstanding(client, "closed")
            client.close()

    def _connection_changed(self, connected: bool) -> None:
        if not connected and self._client is not None:
            # pymodbus would let the request wait for its full time-out.
            self._fail_outstanding(self._client, "closed by the other side")

    def _desynchronised(self) -> None:
        client = self._client
        if client is not None:
            self._fail_outstanding(client, "the byte stream made no sense")
            client.close()

    @staticmethod
    def _fail_outstanding(client: AsyncModbusTcpClient, reason: str) -> None:
        future = client.ctx.response_future
        if not future.done():
            future.set_exception(ConnectionResetError(reason))
            # Nobody may be waiting any more; then the exception is of no interest.
            future.add_done_callback(lambda done: done.exception())


def _quieten_pymodbus() -> None:
    """Silent devices are told by our counters and health, not by an error line per request. An explicit level wins."""
    logger = logging.getLogger("pymodbus.logging")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
