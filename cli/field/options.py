"""Options and arguments that several field commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Url = Annotated[
    str,
    typer.Argument(
        metavar="URL",
        help="modbus+tcp://host:port?unit=1, modbus+rtutcp://..., modbus+tls://..., "
        "modbus+rtu:///dev/ttyUSB0?baud=9600, opc.tcp://host:port/path",
    ),
]
Unit = Annotated[int | None, typer.Option("--unit", min=0, max=255, help="Modbus unit; overrides the one in the URL.")]
ProfileName = Annotated[
    str, typer.Option("--profile", "-P", help="Device profile: a shipped name (`field profiles`) or a TOML file.")
]
Index = Annotated[
    str,
    typer.Option("--index", help="Gear, channel or group numbers: 0, 0-7, 1,4,9. Default: all that the profile has."),
]
Points = Annotated[list[str] | None, typer.Option("--point", help="Only this point; repeat it.")]
Registers = Annotated[
    list[str] | None,
    typer.Option(
        "--register",
        help="A raw register, no profile needed: table:address[:type[:byte,word order]], e.g. input:0-9, "
        "holding:100:float32:big,little. Addresses count from 0. Repeat it.",
    ),
]
Nodes = Annotated[
    list[str] | None,
    typer.Option("--node", help="A raw OPC UA node, no profile needed: nsu=URI;s=NAME or i=2258. Repeat it."),
]
Security = Annotated[
    Path | None,
    typer.Option("--security", help="TOML file with certificates and logins of the endpoints (docs/field-tool.md)."),
]
Timeout = Annotated[
    float, typer.Option("--timeout", min=0.05, max=60, help="Seconds to wait for each answer; more on a radio link.")
]
Controller = Annotated[
    str,
    typer.Option(
        "--controller",
        help="PROFILE@UNIT of the controller on the same line, as cabinet-plc@1: refuse where its heartbeat shows that "
        "somebody runs it.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
