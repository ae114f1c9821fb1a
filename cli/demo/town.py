"""One of the demonstration's processes: seeds the town, says where to look, then tells every so often what it does."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from cli.commands.lamps import follows
from cli.demo import inventory as demo
from cli.demo.layout import Layout
from cli.demo.seed import demonstration_token, seed
from cli.session import Session
from domain.errors import LichtbuchError
from lichtbuch.ledger.v1 import ledger_pb2
from lichtbuch.lighting.v1 import lighting_pb2
from lichtbuch.metering.v1 import metering_pb2

EVERY_S: Final = 10.0
TOKEN_LIFE_S: Final = 1_800.0


def say(line: str) -> None:
    """A line on the terminal."""
    print(line, flush=True)


def layout_from_environment() -> Layout:
    """The layout that `python -m cli.demo` chose, from what it put into the environment."""
    ports = dict(Layout(Path()).ports)
    for pair in os.environ.get("LICHTBUCH_DEMO_PORTS", "").split(","):
        process, equals, port = pair.partition("=")
        if equals:
            ports[process] = int(port)
    return Layout(
        Path(os.environ.get("LICHTBUCH_DEMO_DIRECTORY", ".run/town")),
        speed=float(os.environ.get("LICHTBUCH_CLOCK_SPEED", "1")),
        ports=ports,
    )


def greeting(layout: Layout, town: Mapping[str, Any]) -> str:
    """What a newcomer reads when the town is up."""
    command = "lichtbuch" if Path(sys.prefix).name != ".venv" else ".venv/bin/lichtbuch"
    pace = f", {layout.speed:g} times as fast" if layout.speed != 1 else ""
    lasting = "30m" if layout.speed < 10 else "6h"
    keeps = "keeps what happened" if layout.speed == 1 else "keeps what happened until the next time-lapse"
    first, last = layout.ports["registry-metrics"], layout.ports["ledger-metrics"]
    return f"""
  Lichtbuch is up: {town["name"]}{pace}.

    Web UI      {layout.admin}      log in as viewer, operator, planner, auditor, admin ...;
                                       the password is demo- and the name, for instance demo-operator
    Command     {command} login --user operator --password demo-operator
                {command} lamps; {command} level set 100 group:residential --for {lasting} --reason "market night"
                {command} ledger statement; and as auditor: {command} ledger verify
    Metrics     http://127.0.0.1:{first}/metrics to :{last}, and {layout.admin}/metrics
    Simulator   {layout.simulator}/truth/meters

  Ctrl-C ends it; {layout.directory} {keeps}.
"""


async def one_line(session: Session, zone: ZoneInfo) -> str:
    """What the town does now, in a line; with its local time."""
    answer = await session.lighting.QueryLuminaireStates(
        lighting_pb2.QueryLuminaireStatesRequest(parent=demo.PARENT), timeout=5
    )
    states = answer.states
    levels = Counter(
        f"{round(level / 10)} %" if level > 0 else "off" if level == 0 else "unknown"
        for level in states.actual_permille
    )
    wrong = sum(
        1
        for written, driven, powered, faults in zip(
            states.written_permille, states.driven_permille, states.powered, states.faults, strict=True
        )
        if faults or (powered and written >= 0 and not follows(written, driven))
    )
    at = answer.at.ToDatetime(tzinfo=zone)
    lamps = ", ".join(
        f"{number} at {level}" if level != "off" else f"{number} off" for level, number in levels.most_common(4)
    )
    meters = await session.metering.ListMeters(
        metering_pb2.ListMetersRequest(parent=demo.PARENT, page_size=1000), timeout=5
    )
    energy = sum(meter.latest_value for meter in meters.meters)
    statement = await session.ledger.GetStatement(
        ledger_pb2.GetStatementRequest(parent=f"{demo.PARENT}/measures/-"), timeout=5
    )
    total = statement.total
    saved = (
        f"{total.entries} entries: {total.saved_wh / 1000:.0f} kWh, {total.saved_eur} EUR saved"
        if total.entries
        else "nothing posted yet"
    )
    return (
        f"{at:%a %d %b %H:%M}  lamps: {lamps}{f', {wrong} not as due' if wrong else ''}"
        f"  |  {len(meters.meters)} meters: {energy / 1_000_000:.3f} MWh  |  ledger: {saved}"
    )


async def main() -> None:
    """Seed, greet, and report until told to stop."""
    layout = layout_from_environment()
    say("setting the town up ...")
    town = await seed(layout, say)
    zone = ZoneInfo(town["time_zone"])
    say(greeting(layout, town))
    loop = asyncio.get_running_loop()
    session, renew_at = None, 0.0
    while True:
        try:
            if session is None or loop.time() > renew_at:
                if session is not None:
                    await session.close()
                token = await demonstration_token(layout.issuer, "viewer")
                session = Session(token=token, addresses=layout.addresses())
                renew_at = loop.time() + TOKEN_LIFE_S
            say(await one_line(session, zone))
        except LichtbuchError as error:
            say(f"the town does not answer: {error}")
        await asyncio.sleep(EVERY_S)


def run() -> None:
    """Entry point; an error of ours ends the demonstration with what is wrong."""
    try:
        asyncio.run(main())
    except LichtbuchError as error:
        print(f"the town could not be set up: {error}", file=sys.stderr, flush=True)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(0) from None


if __name__ == "__main__":
    run()
