"""Writes the tables of settings in docs/operations.md from the settings themselves, or checks that they agree.

    python tools/settings_table.py [--check]

Names, defaults, bounds and what a setting is for all come from the classes that the services load.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
import textwrap
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from servicekit.settings import GRPC_PORTS, METRICS_PORTS, ServiceSettings, variable_of

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "operations.md"
SERVICES = ("registry", "lighting", "scheduler", "metering", "ledger", "admin")
BEGIN, END = "<!-- settings: made by tools/settings_table.py -->", "<!-- end of settings -->"


def settings_class(service: str) -> type[ServiceSettings]:
    """The settings that a service's __main__ loads. Raises LookupError for a service that has none."""
    for name in ("settings", "app"):
        if (ROOT / "services" / service / f"{name}.py").exists():
            module = importlib.import_module(f"services.{service}.{name}")
            found: type[ServiceSettings] | None = getattr(module, f"{service.capitalize()}Settings", None)
            if found is not None:
                return found
    raise LookupError(f"{service} has no settings")


def purposes(model: type[ServiceSettings]) -> dict[str, str]:
    """What each field that a class declares is for: the text below it."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(model)))
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    found: dict[str, str] = {}
    for statement, below in pairwise(body):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
            found[statement.target.id] = " ".join(below.value.value.split())
    return found


def default_of(field: FieldInfo) -> str:
    """A default as it would be written into the environment; empty for what has none or is a secret."""
    value: Any = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value is PydanticUndefined or isinstance(value, SecretStr):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value in ("", {}, []) else str(value)


def range_of(field: FieldInfo) -> str:
    """What may be written: bounds or choices; empty where there is nothing to say."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(field.annotation))
    bounds = {
        name: getattr(item, name) for item in field.metadata for name in ("ge", "gt", "le") if hasattr(item, name)
    }
    if not bounds:
        return ""
    low = f"{bounds['ge']:g}" if "ge" in bounds else f"above {bounds['gt']:g}" if "gt" in bounds else ""
    high = bounds.get("le")
    return f"{low} to {high if isinstance(high, int) else format(high, 'g')}" if high is not None else f"from {low}"


def table(model: type[ServiceSettings], fields: list[str]) -> list[str]:
    """The lines of one table."""
    lines = ["| Variable | Default | Range | For |", "|---|---|---|---|"]
    told = {name: text for parent in reversed(model.__mro__) if parent is not object for name, text in _told(parent)}
    for name in fields:
        field = model.model_fields[name]
        default = default_of(field)
        cells = (
            f"`{variable_of(name, model)}`",
            f"`{default}`" if default else "",
            range_of(field),
            told.get(name, ""),
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


def _told(model: type) -> list[tuple[str, str]]:
    return list(purposes(model).items()) if issubclass(model, ServiceSettings) else []


def text() -> str:
    """All tables: what every service has, then what each has beside it or with another default."""
    lines = ["### Every service", "", *table(ServiceSettings, list(ServiceSettings.model_fields))]
    ports = "; ".join(f"{name} {GRPC_PORTS[name]} and {METRICS_PORTS[name]}" for name in SERVICES if name in GRPC_PORTS)
    lines += ["", f"Ports of calls and of metrics where nothing is set, on loopback: {ports}."]
    for service in SERVICES:
        model = settings_class(service)
        own = [
            name
            for name, field in model.model_fields.items()
            if name not in ServiceSettings.model_fields
            or default_of(field) != default_of(ServiceSettings.model_fields[name])
        ]
        if own:
            lines += ["", f"### {service.capitalize()}", "", *table(model, own)]
    return "\n".join(lines)


def renewed(document: str) -> str:
    """A document with its tables made anew. Raises SystemExit for one without a place for them."""
    found = re.search(f"{re.escape(BEGIN)}.*{re.escape(END)}", document, re.DOTALL)
    if found is None:
        raise SystemExit(f"{DOCUMENT.name}: the place of the settings is not marked")
    return document[: found.start()] + f"{BEGIN}\n\n{text()}\n\n{END}" + document[found.end() :]


def main() -> None:
    """Write, or with --check say what differs and fail."""
    document = DOCUMENT.read_text(encoding="utf-8")
    if renewed(document) == document:
        print("docs/operations.md agrees with the settings")
    elif "--check" in sys.argv:
        raise SystemExit("docs/operations.md differs from the settings: run python tools/settings_table.py")
    else:
        DOCUMENT.write_text(renewed(document), encoding="utf-8")


if __name__ == "__main__":
    main()
