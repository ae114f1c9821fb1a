"""Each group of pyproject.toml names what its code imports, and nothing else.

The development environment holds every package, so an undeclared import would show in an image only. Imports are read
from the source, those inside functions included; those for type checkers only do not count.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
SOURCES: Final = (ROOT, ROOT / "proto" / "gen")
OURS: Final = ("domain", "fieldbus", "servicekit", "services", "cli", "simulator", "lichtbuch")
SERVICES: Final = ("registry", "lighting", "scheduler", "metering", "ledger", "admin")
WITH_DATABASE: Final = SERVICES[:-1]

# Named without being imported: tzdata is read by zoneinfo, psycopg is loaded by SQLAlchemy from the database's URL.
LOADED_BY_NAME: Final = {"tzdata", "psycopg"}
# Two distributions each share the packages `google` and `arro3`.
SHARED: Final = {
    "google.protobuf": "protobuf",
    "google.rpc": "googleapis-common-protos",
    "arro3.core": "arro3-core",
    "arro3.io": "arro3-io",
}
# A part of another one, which pins it to its own version.
PART_OF: Final = {"pydantic-core": "pydantic"}


def modules_below(folder: str) -> list[str]:
    files = (ROOT / folder).rglob("*.py")
    return [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files]


def roots() -> dict[str, list[str]]:
    """What a group has to be able to import: all of a service, and of the command what `lichtbuch` starts."""
    found = {service: modules_below(f"services/{service}") for service in SERVICES}
    for service in WITH_DATABASE:
        found[service].append("servicekit.migrate")
    return found | {"simulator": modules_below("simulator"), "cli": ["cli.main"]}


def source_of(module: str) -> Path | None:
    for root in SOURCES:
        path = root.joinpath(*module.split("."))
        for file in (path / "__init__.py", path.with_suffix(".py")):
            if file.is_file():
                return file
    return None


def _statements(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        yield from _statements(child)


@cache
def imports_of(file: Path) -> frozenset[str]:
    """Full names of everything that a file imports; of `from a import b` both `a` and `a.b`, as b may be a module."""
    found: set[str] = set()
    for statement in _statements(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(statement, ast.Import):
            found.update(alias.name for alias in statement.names)
        elif statement.module:
            assert statement.level == 0, f"{file}: a relative import"
            found.add(statement.module)
            found.update(f"{statement.module}.{alias.name}" for alias in statement.names)
    return frozenset(found)


def foreign_imports(modules: Iterable[str]) -> dict[str, str]:
    """Distributions that modules need, directly or through other modules of ours; each with one that imports it."""
    distributions = packages_distributions()
    needed: dict[str, str] = {}
    seen: set[str] = set()
    left = list(modules)
    while left:
        module = left.pop()
        if module in seen or (file := source_of(module)) is None:
            continue
        seen.add(module)
        if "." in module:
            left.append(module.rpartition(".")[0])
        for name in imports_of(file):
            top = name.partition(".")[0]
            if top in OURS:
                left.append(name)
            elif any(package.startswith(f"{top}.") for package in SHARED):
                for package, distribution in SHARED.items():
                    if name == package or name.startswith(f"{package}."):
                        needed[distribution] = module
            elif top not in sys.stdlib_module_names:
                distribution = normal(distributions[top][0]) if top in distributions else f"? {top}"
                needed[PART_OF.get(distribution, distribution)] = module
    return needed


def normal(name: str) -> str:
    """A distribution's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(group: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found: set[str] = set()
    left: list[str] = [*project["dependencies"], f"lichtbuch[{group}]"]
    while left:
        requirement = left.pop()
        if ours := re.fullmatch(r"lichtbuch\[(.+)]", requirement):
            for name in ours[1].split(","):
                left += project["optional-dependencies"][name.strip()]
        elif name_found := re.match(r"[A-Za-z0-9._-]+", requirement):
            found.add(normal(name_found[0]))
    return found


@pytest.mark.parametrize("group", roots())
def test_a_group_names_what_its_code_imports_and_nothing_else(group: str) -> None:
    needed, named = foreign_imports(roots()[group]), declared(group)
    assert not {name: f"imported by {module}" for name, module in needed.items() if name not in named}
    assert named - set(needed) <= LOADED_BY_NAME


def test_imports_are_found_through_our_own_modules_and_inside_functions() -> None:
    assert all(source_of(module) for modules in roots().values() for module in modules)
    needed = foreign_imports(["services.scheduler.__main__"])
    assert needed["uvloop"] == "servicekit.server"  # inside a function
    assert {"sqlmodel", "protobuf", "googleapis-common-protos", "structlog"} <= set(needed)
    assert "nicegui" not in needed
