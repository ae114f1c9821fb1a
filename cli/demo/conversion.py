"""Somebody's own inventory for the demonstration: any file that can be imported, as the simulator's plain CSV."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.importing.luminaires import read_inventory, require_rows, resource_id
from cli.importing.mapping import given_mapping, make_mapping
from cli.importing.plain import write_plain
from cli.importing.tables import read_table
from domain.errors import InvalidInput

SHOWN_REFUSALS = 5


@dataclass(frozen=True)
class OwnInventory:
    """A file, and what its columns and coordinates are, as `lichtbuch import luminaires` is told."""

    file: Path
    mapping: Sequence[str] = ()
    crs: str = ""

    @property
    def municipality(self) -> str:
        """The id of its town: the file's name in small letters, digits and hyphens."""
        slug = re.sub(r"[^a-z0-9]+", "-", resource_id(self.file.stem).lower()).strip("-")
        return (slug if slug[:1].isalpha() else f"town-{slug}".rstrip("-"))[:50].rstrip("-")

    def convert(self, directory: Path, say: Callable[[str], None]) -> Path:
        """Write the CSV below `directory` and answer its path; its name is the file's, for the town is called so.

        Raises InvalidInput where nothing can be read, and where the directory holds a town of other lamps already.
        """
        table = read_table(self.file)
        columns = make_mapping(table.columns, given_mapping(list(self.mapping), None))
        inventory = read_inventory(table, columns, crs=self.crs)
        require_rows(inventory)
        for refusal in inventory.refusals[:SHOWN_REFUSALS]:
            say(f"  line {refusal.line}, {refusal.column}: {refusal.reason} ({refusal.value!r})")
        say(f"{self.file.name} ({inventory.crs}): {len(inventory.rows)} taken, {inventory.refused_lines} lines refused")
        if not inventory.rows:
            raise InvalidInput.of("--inventory", "no line could be taken: see `lichtbuch import luminaires --offline`")
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        target, fresh = directory / f"{self.municipality}.csv", directory / "inventory.new"
        write_plain(inventory.rows, fresh)
        if target.exists() and target.read_bytes() != fresh.read_bytes():
            fresh.unlink()
            raise InvalidInput.of("--inventory", f"is another than the one {directory} was set up with: remove that")
        return fresh.replace(target)
