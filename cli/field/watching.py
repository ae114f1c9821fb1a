"""field watch: values as they change, until Ctrl-C."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from cli.errors import PARTIAL
from cli.field.addressing import chosen_points, profile_of, with_unit
from cli.field.connection import PATIENCE_S, on_device
from cli.field.display import Row, for_people, local_time, value_rows
from cli.field.nodes import parse_nodes, raw_profile, read_nodes, shown_node
from cli.field.options import Index, Nodes, Points, ProfileName, Registers, Security, Timeout, Unit, Url
from cli.field.reading import check_selection
from cli.field.registers import parse_registers, read_registers, reading_profile, register_rows
from cli.field.telling import fail_at
from cli.options import Json
from cli.output import console, note, plain_cell, print_json_line
from domain.errors import RetryableError
from fieldbus.device import Device
from fieldbus.profile import Profile
from fieldbus.values import PointAddress, ValueBatch


@dataclass
class Watch:
    """What is watched for how long, and what has been seen of it."""

    profile: Profile
    asked: int
    interval_s: float
    seconds: float
    as_json: bool
    seen_good: set[str] = field(default_factory=set)
    last_error: str = ""

    def show(self, name: str, row: Row, value: str) -> None:
        """One change, as one line."""
        if row["quality"] == "good":
            self.seen_good.add(name)
        if self.as_json:
            print_json_line(row)
        else:
            console.print(plain_cell(f"{local_time(row['observed_at'])}  {name} = {value}  ({row['quality']})"))

    async def wait(self) -> None:
        """As long as was asked for."""
        await (asyncio.sleep(self.seconds) if self.seconds else asyncio.Event().wait())


def watch(
    url: Url,
    profile_name: ProfileName = "",
    unit: Unit = None,
    index: Index = "",
    point: Points = None,
    register: Registers = None,
    node: Nodes = None,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between looks, for what has to be polled.")] = 1.0,
    seconds: Annotated[float, typer.Option(min=0, help="Stop after so long; 0 for never.")] = 0.0,
    timeout: Timeout = PATIENCE_S,
    security: Security = None,
    as_json: Json = False,
) -> None:
    """Print values as they change, for --seconds or until Ctrl-C.

    Exit code 0: all were read, 3: a part, 4: nothing answered, 130: stopped by Ctrl-C.
    """
    check_selection(url, profile_name, register, node)
    work: Callable[[Device], Awaitable[None]]
    if register:
        values = [value for text in register for value in parse_registers(text)]
        seen = Watch(reading_profile(values), len(values), interval, seconds, as_json)

        async def register_changes(device: Device) -> list[tuple[str, Row, str]]:
            rows = register_rows(values, await read_registers(device, values))
            return [(row["register"], row, f"{row['value']}  [{row['raw']}]") for row in rows]

        work = _polling(seen, register_changes)
    elif node:
        names = parse_nodes(node)
        seen = Watch(raw_profile(), len(names), interval, seconds, as_json)

        async def node_changes(device: Device) -> list[tuple[str, Row, str]]:
            return [(row["node"], row, shown_node(row)) for row in await read_nodes(device, names)]

        work = _polling(seen, node_changes)
    else:
        profile = profile_of(profile_name)
        addresses = chosen_points(profile, index, point)
        seen = Watch(profile, len(addresses), interval, seconds, as_json)
        work = _subscribing(seen, addresses)
    try:
        on_device(with_unit(url, unit), seen.profile, work, timeout_s=timeout, security=security)
    except KeyboardInterrupt:
        note("stopped")
        if seen.seen_good:
            raise
    if not seen.seen_good:
        fail_at(with_unit(url, unit), seen.last_error)
    raise typer.Exit(0 if len(seen.seen_good) == seen.asked else PARTIAL)


def _subscribing(seen: Watch, addresses: Sequence[PointAddress]) -> Callable[[Device], Awaitable[None]]:
    def show(batch: ValueBatch) -> None:
        for row in value_rows(seen.profile, batch):
            name = str(PointAddress(row["point"], row["index"]))
            seen.show(name, row, " ".join(for_people(seen.profile.points[row["point"]].point, row["value"])).strip())

    async def follow(device: Device) -> None:
        subscription = await device.subscribe(tuple(addresses), show, interval_s=seen.interval_s)
        try:
            await seen.wait()
        finally:
            seen.last_error = device.health().last_error
            await subscription.cancel()

    return follow


def _polling(
    seen: Watch, look: Callable[[Device], Awaitable[list[tuple[str, Row, str]]]]
) -> Callable[[Device], Awaitable[None]]:
    """For what has no subscription: look again and again, and show what differs from the last look."""

    async def forever(device: Device) -> None:
        last: dict[str, tuple[Any, Any]] = {}
        while True:
            try:
                rows = await look(device)
            except RetryableError as error:  # nodes are asked for by themselves: nobody hides a dead server from us
                if str(error) != seen.last_error:
                    seen.last_error = str(error)
                    note(seen.last_error)
                rows = []
            for name, row, value in rows:
                now = row["value"], row["quality"]
                if last.get(name) != now:
                    last[name] = now
                    seen.show(name, row, value)
            await asyncio.sleep(seen.interval_s)

    async def follow(device: Device) -> None:
        looking = asyncio.create_task(forever(device))
        waiting = asyncio.create_task(seen.wait())
        try:
            await asyncio.wait((looking, waiting), return_when=asyncio.FIRST_COMPLETED)
            if looking.done():
                await looking  # it only ends by an error
        finally:
            seen.last_error = seen.last_error or device.health().last_error
            for task in (looking, waiting):
                task.cancel()
            await asyncio.gather(looking, waiting, return_exceptions=True)

    return follow
