"""lichtbuch export luminaires: the inventory of now or of a past date as a file."""

from __future__ import annotations

import csv
import json
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from cli.exporting.fiware import Belongings, model, streetlight
from cli.exporting.rows import feature_of, row_of
from cli.importing.plain import COLUMNS, plain_cells
from cli.options import AsItStood, Json, Town
from cli.output import note, print_rows
from cli.parsing import instant
from cli.session import Session, all_pages, online
from domain.errors import InvalidInput
from lichtbuch.lighting.v1 import inventory_pb2
from lichtbuch.lighting.v1 import lighting_pb2 as pb

app = typer.Typer(help="Write inventories and readings to files.", no_args_is_help=True)

PAGE = 5_000


class Format(StrEnum):
    """What a file is written as."""

    CSV = "csv"
    GEOJSON = "geojson"
    FIWARE = "fiware"


@app.callback()
def _export() -> None:
    """Write inventories and readings to files."""


@app.command("luminaires")
def export_luminaires(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write; what is there is replaced.")],
    form: Annotated[Format, typer.Option("--format", help="CSV, GeoJSON, or FIWARE Smart Data Models.")] = Format.CSV,
    at: AsItStood = "",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Write all luminaires of a town to a file. CSV, GeoJSON and FIWARE can be taken in again."""

    async def write(session: Session) -> tuple[int, int]:
        then = instant(at, await session.zone(), datetime.now(UTC), "--at") if at else None
        source = Source(session, await session.parent(), then)
        part = file.with_name(file.name + ".part")
        try:
            with part.open("w", encoding="utf-8", newline="") as stream:
                counts = await WRITERS[form](source, stream)
            part.replace(file)
        except OSError as error:
            raise InvalidInput.of("file", f"{file} cannot be written: {error.strerror}") from error
        finally:
            part.unlink(missing_ok=True)
        return counts

    written, left_out = online(write, municipality)
    print_rows([{"file": str(file), "format": form.value, "luminaires": written, "left_out": left_out}], as_json)
    if left_out:
        note(f"{left_out} luminaires without a position are not in it: FIWARE's Streetlight has one")


class Source:
    """The inventory, a page at a time, as of now or as it stood at an instant."""

    def __init__(self, session: Session, parent: str, at: datetime | None) -> None:
        self._session, self.parent, self.at = session, parent, at

    def request(self, kind: Callable[..., Any], **values: Any) -> Any:
        """A request for a list."""
        made = kind(parent=self.parent, **values)
        if self.at is not None:
            made.at.FromDatetime(self.at)
        return made

    async def luminaires(self) -> AsyncIterator[inventory_pb2.Luminaire]:
        """Luminaires by id."""
        request = self.request(pb.ListLuminairesRequest, page_size=PAGE)
        while True:
            answer = await self._session.lighting.ListLuminaires(request)
            for lamp in answer.luminaires:
                yield lamp
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    async def all(self, what: str, kind: Callable[..., Any], field: str) -> list[Any]:
        """All resources of a kind of which there are few."""
        return await all_pages(getattr(self._session.lighting, what), self.request(kind), field)

    async def faults(self) -> dict[str, int]:
        """Fault bits of luminaires by name, as of now; of the past none are told."""
        if self.at is not None:
            return {}
        request = pb.QueryLuminaireStatesRequest(parent=self.parent)
        states = (await self._session.lighting.QueryLuminaireStates(request)).states
        return dict(zip(states.names, states.faults, strict=True))


async def _write_csv(source: Source, stream: TextIO) -> tuple[int, int]:
    writer, number = csv.DictWriter(stream, COLUMNS), 0
    writer.writeheader()
    async for lamp in source.luminaires():
        writer.writerow(plain_cells(row_of(lamp), exact=True))
        number += 1
    return number, 0


async def _write_geojson(source: Source, stream: TextIO) -> tuple[int, int]:
    number = 0
    stream.write('{"type": "FeatureCollection", "features": [')
    async for lamp in source.luminaires():
        stream.write(",\n" if number else "\n")
        stream.write(_text(feature_of(lamp)))
        number += 1
    stream.write("\n]}\n")
    return number, 0


async def _write_fiware(source: Source, stream: TextIO) -> tuple[int, int]:
    models = await source.all("ListLuminaireModels", pb.ListLuminaireModelsRequest, "luminaire_models")
    rated = {found.name: found.rated_power_w for found in models}
    faults, belongings = await source.faults(), Belongings()
    written = left_out = 0
    stream.write("[")
    async for lamp in source.luminaires():
        entity = streetlight(lamp, rated.get(lamp.model, 0.0), faults.get(lamp.name, 0))
        if entity is None:
            left_out += 1
            continue
        belongings.add(lamp)
        stream.write((",\n" if written else "\n") + _text(entity))
        written += 1
    cabinets = {c.name: c for c in await source.all("ListCabinets", pb.ListCabinetsRequest, "cabinets")}
    groups = await source.all("ListGroups", pb.ListGroupsRequest, "groups")
    feeders = await source.all("ListFeeders", pb.ListFeedersRequest, "feeders")
    others: list[Iterable[dict[str, Any]]] = [
        map(model, models),
        belongings.groups(groups),
        belongings.cabinets(cabinets.values()),
        belongings.feeders(feeders, cabinets),
    ]
    first = not written
    for entity in (entity for kind in others for entity in kind):
        stream.write(("\n" if first else ",\n") + _text(entity))
        first = False
    stream.write("\n]\n")
    return written, left_out


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


WRITERS = {Format.CSV: _write_csv, Format.GEOJSON: _write_geojson, Format.FIWARE: _write_fiware}
