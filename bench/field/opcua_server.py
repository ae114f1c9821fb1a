"""An OPC UA server whose notifications cost it next to nothing: asyncua's sessions, publish answers made in advance.

usage: python -m bench.field.opcua_server LAMPS
Prints its port. Lines on standard input: `flood SECONDS` answers every publish request at once with all nodes changed;
`rate N SECONDS` makes N notifications a second and loses what the client does not fetch in time. Each is answered
with how many were sent and lost, and in which variant of the values the last were.
"""

from __future__ import annotations

import asyncio
import json
import logging
import struct
import sys
import time
from datetime import UTC, datetime
from typing import Any, Final

import asyncua
from asyncua.server.server import Server
from asyncua.ua.ua_binary import struct_to_binary

from bench.field import nodes

ua: Any = asyncua.ua  # its types want wrappers for every number and text, which it makes itself

_TYPES: Final = {
    "double": ua.VariantType.Double,
    "float": ua.VariantType.Float,
    "uint64": ua.VariantType.UInt64,
    "uint32": ua.VariantType.UInt32,
    "uint16": ua.VariantType.UInt16,
    "boolean": ua.VariantType.Boolean,
}
_HANDLE_MARK: Final = 0x13572468
_SEQUENCE_MARK: Final = 0x24681357
_WAITING: Final = 10  # messages that wait for a client before the oldest are lost


class Load:
    """Notifications of one subscription, encoded in advance. Takes the place of its publish_results."""

    def __init__(self, subscription: Any) -> None:
        self._subscription = subscription
        self._processor = subscription.pub_request_callback.__self__
        self._items = list(subscription.monitored_item_srv._monitored_items.values())
        self._messages = [self._encode(variant) for variant in range(nodes.VARIANTS)]
        self._sequence = 1_000
        self._next = 0
        self._flooding = False
        self._waiting = 0
        self.sent = self.lost = 0
        self.last_variant = 0
        subscription.publish_results = self.publish_results

    @property
    def size(self) -> int:
        """Notifications in a message."""
        return len(self._items)

    def _encode(self, variant: int) -> tuple[bytes, int, int]:
        """A publish answer up to its results, and where request handle and sequence number stand in it."""
        changed = ua.DataChangeNotification()
        now = datetime.now(UTC)
        for item in self._items:
            _, lamp, part = item.read_value_id.NodeId.Identifier.split(".")
            column = next(at for at, point in enumerate(nodes.POINTS) if point[1] == part)
            value = ua.Variant(nodes.raw_value(int(lamp), column, variant), _TYPES[nodes.POINTS[column][2]])
            notification = ua.MonitoredItemNotification()
            notification.ClientHandle = item.client_handle
            notification.Value = ua.DataValue(value, SourceTimestamp=now)
            changed.MonitoredItems.append(notification)
        answer = ua.PublishResponse()
        answer.ResponseHeader.RequestHandle = _HANDLE_MARK
        answer.ResponseHeader.Timestamp = now
        answer.Parameters.SubscriptionId = self._subscription.data.SubscriptionId
        answer.Parameters.NotificationMessage.SequenceNumber = _SEQUENCE_MARK
        answer.Parameters.NotificationMessage.PublishTime = now
        answer.Parameters.NotificationMessage.NotificationData = [changed]
        encoded = struct_to_binary(answer)[:-8]  # without results and diagnostics, two empty arrays
        return encoded, encoded.index(struct.pack("<I", _HANDLE_MARK)), encoded.index(struct.pack("<I", _SEQUENCE_MARK))

    async def publish_results(self, request: Any = None) -> bool:
        """Answer the request given, and all that wait, as long as there is something to tell; whether any was."""
        answered = False
        while self._flooding or self._waiting:
            # Where none waits, this also asks to be called again with the next one that comes.
            request = request or self._processor.get_publish_request(self._subscription.data.SubscriptionId)
            if request is None:
                break
            self._answer(request)
            answered, request = True, None
        return answered

    def _answer(self, request: Any) -> None:
        encoded, handle_at, sequence_at = self._messages[self._next]
        message = bytearray(encoded)
        struct.pack_into("<I", message, handle_at, request.requesthdr.RequestHandle)
        struct.pack_into("<I", message, sequence_at, self._sequence)
        results = len(request.results or ())
        message += struct.pack("<i", results) + bytes(4 * results) + struct.pack("<i", 0)
        connection = self._processor._connection
        self._processor._transport.write(
            connection.message_to_binary(bytes(message), ua.MessageType.SecureMessage, request.seqhdr.RequestId)
        )
        self.last_variant = self._next
        self._next = (self._next + 1) % len(self._messages)
        self._sequence += 1
        self._waiting = max(0, self._waiting - 1)
        self.sent += self.size

    async def flood(self, duration_s: float) -> None:
        """Answer whatever is asked."""
        self._flooding = True
        await self.publish_results()
        await asyncio.sleep(duration_s)
        self._flooding = False

    async def at_rate(self, rate: float, duration_s: float) -> None:
        """So many notifications a second, no matter whether they are fetched."""
        start = time.monotonic()
        made = 0
        while (elapsed := time.monotonic() - start) < duration_s:
            due = int(elapsed * rate / self.size)
            for _ in range(due - made):
                if self._waiting == _WAITING:
                    self.lost += self.size
                else:
                    self._waiting += 1
                await self.publish_results()
            made = due
            await asyncio.sleep(max(0.0005, (made + 1) * self.size / rate - elapsed))
        while self._waiting and time.monotonic() - start < duration_s + 1:  # noqa: ASYNC110 - the client comes by itself
            await asyncio.sleep(0.01)


async def _commands(server: Any) -> None:
    load: Load | None = None
    while line := await asyncio.to_thread(sys.stdin.readline):
        command, *numbers = line.split()
        subscriptions = list(server.iserver.subscription_service.subscriptions.values())
        subscription = max(subscriptions, key=lambda found: found.data.SubscriptionId)
        if load is None or load._subscription is not subscription:
            load = Load(subscription)
        load.sent = load.lost = 0
        start = time.monotonic()
        if command == "flood":
            await load.flood(float(numbers[0]))
        else:
            await load.at_rate(float(numbers[0]), float(numbers[1]))
        wall_s = time.monotonic() - start
        answer = {"sent": load.sent, "lost": load.lost, "variant": load.last_variant, "wall_s": wall_s}
        print(json.dumps(answer), flush=True)


async def main(lamps: int) -> None:
    """Serve until standard input ends."""
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)
    server: Any = Server()
    await server.init()
    server.set_endpoint("opc.tcp://127.0.0.1:0/")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace(nodes.NAMESPACE)
    for lamp in range(lamps):
        folder = await server.nodes.objects.add_folder(ua.NodeId(f"Lamp.{lamp}", index), f"{index}:Lamp.{lamp}")
        for column, (_, part, kind, _) in enumerate(nodes.POINTS):
            value = ua.Variant(nodes.raw_value(lamp, column, 0), _TYPES[kind])
            await folder.add_variable(ua.NodeId(nodes.node_name(lamp, part), index), f"{index}:{part}", value)
    await server.start()
    print(server.bserver._server.sockets[0].getsockname()[1], flush=True)
    try:
        await _commands(server)
    finally:
        await server.stop()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
