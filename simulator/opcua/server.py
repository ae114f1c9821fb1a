"""An OPC UA server for one gateway, on asyncua: values are worked out when they are read, and otherwise a few times a
second for whoever subscribes; written levels become commands.

Disturbances: silent (a request is never answered), refuse (nobody is let in), slow, and failed values.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import numpy as np
from asyncua import ua
from asyncua.common.callback import CallbackType
from asyncua.server.server import Server
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes

from simulator.field import Field
from simulator.lamps import KEEP_LAST
from simulator.modbus.server import HOST, REFUSE, SILENT, Disturbance
from simulator.modbus.unit import PRODUCT, REVISION, VENDOR
from simulator.opcua.nodes import LEVEL, NAMESPACE, POWER_ON, VARIABLES, Variable, bad, data_value
from simulator.world import GatewayState, Indices

PRODUCT_URI = "urn:lichtbuch:simulator"
REFRESH_S = 0.25


class OpcUaGateway:
    """One gateway's server. `before` moves the town's time to now."""

    def __init__(self, field: Field, gateway: GatewayState, before: Callable[[], None], port: int = 0) -> None:
        self.name = gateway.id
        self.port = port
        self.reads = self.writes = 0
        self._field = field
        self._world = field.world
        self._lamps = field.world.lamps
        self._gateway = gateway
        self._before = before
        self._task: asyncio.Task[None] | None = None
        self._disturbance = Disturbance()
        self._not_silent = asyncio.Event()
        self._not_silent.set()
        # The addresses in use and the lamp of each; a lamp's place is its position in these.
        self._gears: list[int] = np.flatnonzero(gateway.addresses >= 0).tolist()
        self._index: Indices = gateway.addresses[gateway.addresses >= 0]
        self._nodes: dict[ua.NodeId, tuple[int, Variable]] = {}
        # Per variable and place: value and whether the lamp answers, now and as subscribers were told last.
        self._current: dict[str, list[tuple[Any, bool]]] = {}
        self._told: dict[str, list[tuple[Any, bool] | None]] = {}
        self._worked_out_at: list[tuple[float, int, bool] | None] = [None] * len(self._gears)
        self._server = Server()

    async def start(self) -> None:
        """Build the address space and listen."""
        logging.getLogger("asyncua").setLevel(logging.CRITICAL)
        server = self._server
        await server.init()
        server.allow_remote_admin(False)
        server.set_endpoint(f"opc.tcp://{HOST}:{self.port}/")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        await server.set_application_uri(f"{PRODUCT_URI}:{self.name}")
        built = datetime(2026, 1, 1, tzinfo=UTC)
        await server.set_build_info(PRODUCT_URI, VENDOR, PRODUCT, REVISION, self.name, built)
        await self._build(await server.register_namespace(NAMESPACE))
        server.subscribe_server_callback(CallbackType.PreRead, self._before_read)
        server.subscribe_server_callback(CallbackType.PreWrite, self._before_write)
        server.subscribe_server_callback(CallbackType.PostWrite, self._after_write)
        await server.start()
        assert server.bserver is not None
        self.port = server.bserver.port
        self._task = asyncio.create_task(self._keep_told(), name=f"opcua {self.name}")

    async def stop(self) -> None:
        """Stop listening and end."""
        self._not_silent.set()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            await self._server.stop()

    async def disturb(self, disturbance: Disturbance | None) -> None:
        """Set or, with None, end what is wrong with it."""
        refused = self._disturbance.dead == REFUSE
        self._disturbance = disturbance or Disturbance()
        if self._disturbance.dead == SILENT:
            self._not_silent.clear()
        else:
            self._not_silent.set()
        assert self._server.bserver is not None
        if self._disturbance.dead == REFUSE and not refused:
            await self._server.bserver.stop()
        elif refused and self._disturbance.dead != REFUSE:
            await self._server.bserver.start()

    # --- values ---------------------------------------------------------------------------------------------------

    async def _build(self, namespace: int) -> None:
        """A folder per lamp, as asyncua's costs grow with the square of siblings."""

        def node_id(name: str) -> ua.NodeId:
            return ua.NodeId.from_string(f"ns={namespace};s={name}")

        root = await self._server.nodes.objects.add_folder(node_id("Lamps"), f"{namespace}:Lamps")
        self._current = {v.name: [(None, False)] * len(self._gears) for v in VARIABLES}
        self._told = {v.name: [None] * len(self._gears) for v in VARIABLES}
        for place, gear in enumerate(self._gears):
            folder = await root.add_folder(node_id(f"Lamp.{gear}"), f"{namespace}:Lamp {gear}")
            for variable in VARIABLES:
                here = node_id(f"Lamp.{gear}.{variable.name}")
                start: Any = False if variable.type == ua.VariantType.Boolean else 0
                node = await folder.add_variable(here, f"{namespace}:{variable.name}", start, variable.type)
                if variable.kind:
                    await node.set_writable()
                self._nodes[here] = (place, variable)
                space = self._server.iserver.aspace
                space.set_attribute_value_callback(here, AttributeIds.Value, self._value)
                # asyncua calls a setter with three arguments and ignores its result, unlike its annotation.
                space.set_attribute_value_setter(here, AttributeIds.Value, _keep)  # type: ignore[arg-type]
        self._work_out(range(len(self._gears)))

    def _value(self, node_id: ua.NodeId, attribute: AttributeIds) -> ua.DataValue:
        """What a node says; worked out ahead of the read it belongs to, but for the first value of a subscription."""
        place, variable = self._nodes[node_id]
        self._work_out([place])
        return data_value(variable, *self._current[variable.name][place], self._world.now)

    def _work_out(self, places: Sequence[int]) -> None:
        """Bring the values of some lamps up to the town's time."""
        failed = bool(self._disturbance.wrong)
        instant = (self._world.now, self._world.revision, failed)
        places = [place for place in places if self._worked_out_at[place] != instant]
        if not places:
            return
        index = self._index[np.array(places, dtype=np.intp)]
        responds = self._lamps.responds(index).tolist()
        for variable in VARIABLES:
            values = variable.values(self._lamps, self._world.now, index).tolist()
            current = self._current[variable.name]
            for place, value, alive in zip(places, values, responds, strict=True):
                current[place] = (value, (alive or variable.stored) and not failed)
        for place in places:
            self._worked_out_at[place] = instant

    async def _keep_told(self) -> None:
        """Subscribers hear of changes a few times a second, unless the gateway is silent."""
        while True:
            await asyncio.sleep(REFRESH_S)
            if self._server.bserver is None or not self._server.bserver.clients or not self._gears:
                continue
            self._before()
            self._world.polled(self._gateway)
            if self._not_silent.is_set():
                self._work_out(range(len(self._gears)))
                await self._tell()

    async def _tell(self) -> None:
        for node_id, (place, variable) in self._nodes.items():
            now = self._current[variable.name][place]
            if self._told[variable.name][place] != now:
                self._told[variable.name][place] = now
                value = data_value(variable, *now, self._world.now)
                await self._server.iserver.aspace.write_attribute_value(node_id, AttributeIds.Value, value)

    # --- requests -------------------------------------------------------------------------------------------------

    async def _delay(self) -> None:
        await self._not_silent.wait()
        if self._disturbance.delay_s > 0:
            await asyncio.sleep(self._disturbance.delay_s)

    async def _before_read(self, event: Any, dispatcher: Any) -> None:
        asked = {self._nodes[r.NodeId][0] for r in event.request_params.NodesToRead if r.NodeId in self._nodes}
        if event.is_external and asked:
            await self._delay()
            self.reads += 1
            self._before()
            self._world.polled(self._gateway)
            self._work_out(sorted(asked))

    async def _before_write(self, event: Any, dispatcher: Any) -> None:
        if event.is_external:
            await self._delay()

    async def _after_write(self, event: Any, dispatcher: Any) -> None:
        """Commands; the statuses that go back to the client can still be changed here."""
        if not event.is_external:
            return
        self._before()
        self._world.polled(self._gateway)
        self.writes += 1
        peer = self._peer()
        statuses = event.response_params
        for i, written in enumerate(event.request_params.NodesToWrite):
            if written.NodeId not in self._nodes:
                continue
            place, variable = self._nodes[written.NodeId]
            value = written.Value.Value
            if statuses[i].is_good():
                statuses[i] = _verdict(variable, value)
            # Subscribers may have heard what the client wrote; they hear again what is.
            self._told[variable.name][place] = None
            self._carry_out(peer, place, variable, value, statuses[i].is_good())
            self._work_out([place])

    def _carry_out(self, peer: str, place: int, variable: Variable, value: ua.Variant | None, sound: bool) -> None:
        index = self._index[place : place + 1]
        heard = 0
        level = float(value.Value) if sound and value is not None else KEEP_LAST
        if sound:
            permille = KEEP_LAST if level == KEEP_LAST else round(level * 10.0, 3)
            if variable is LEVEL:
                heard = int(self._world.command_level(index, permille).size)
            else:
                values = self._lamps.power_on_level if variable is POWER_ON else self._lamps.system_failure_level
                heard = int(self._world.store(values, index, permille).size)
        self._field.log_lamps(
            peer=peer, cabinet=self._gateway.cabinet, endpoint=self._gateway.id,
            register=f"Lamp.{self._gears[place]}.{variable.name}", kind=variable.kind or "read-only",
            values=(level,) if sound else (), lamps=index, heard=heard, result="accepted" if sound else "refused",
        )  # fmt: skip

    def _peer(self) -> str:
        """Address and port of the client whose request is being handled: its connection's task is the current one."""
        task = asyncio.current_task()
        for connection in self._server.bserver.clients if self._server.bserver is not None else ():
            if connection._task is task and connection.peer_name:
                return f"{connection.peer_name[0]}:{connection.peer_name[1]}"
        return "unknown"


def _keep(node: Any, attribute: Any, value: Any) -> None:
    """What a client writes is not stored: the lamp decides what the node says next."""


def _verdict(variable: Variable, value: ua.Variant | None) -> ua.StatusCode:
    """Whether a written value is a level in per cent (or -1 for a stored level that keeps the last one)."""
    if value is None or value.VariantType != variable.type:
        return bad(StatusCodes.BadTypeMismatch)
    keeps = value.Value == KEEP_LAST and variable is not LEVEL
    if not (keeps or 0.0 <= value.Value <= 100.0):
        return bad(StatusCodes.BadOutOfRange)
    return ua.StatusCode()
