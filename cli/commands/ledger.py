"""lichtbuch ledger measures|post|entries|reverse|statement|export|verify: the book of what was saved."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import parsing
from cli.errors import FOUND_WRONG
from cli.options import Json, Reason, Town
from cli.output import console, enum_word, kwh, note, note_lines, print_facts, print_json, print_rows
from cli.session import Session, all_pages, online
from domain.errors import InvalidInput
from domain.names import new_uid
from domain.night import local_day_bounds, night_bounds
from lichtbuch.ledger.v1 import ledger_pb2
from servicekit.convert import timestamp_to_proto
from services.ledger.bundle import HeaderPart, part_of_export, read_line, write_line
from services.ledger.checkpoint import Checkpoint
from services.ledger.verify import VerificationReport, verify_bundle

app = typer.Typer(help="The book of what was saved.", no_args_is_help=True)

Measure = Annotated[str, typer.Argument(metavar="MEASURE", help="Id of the measure.")]


def entry_row(item: ledger_pb2.Entry, tz: Any) -> dict[str, Any]:
    """An entry as a row; figures in the units that their names say."""
    return {
        "entry": "/".join(item.name.split("/")[3::2]),
        "kind": enum_word(ledger_pb2.EntryKind.Name(item.kind), "ENTRY_KIND_"),
        "from": item.start_time.ToDatetime(tzinfo=UTC).astimezone(tz).isoformat(timespec="minutes"),
        "until": item.end_time.ToDatetime(tzinfo=UTC).astimezone(tz).isoformat(timespec="minutes"),
        "actual_wh": item.actual_wh,
        "baseline_wh": item.baseline_wh,
        "saved_wh": item.saved_wh,
        "saved_eur": item.saved_eur,
        "avoided_co2_g": item.avoided_co2_g,
        "uncertainty_wh": item.uncertainty_wh,
        "coverage_permille": item.coverage_permille,
        "reversed_by": item.reversed_by.rsplit("/", 1)[-1],
        "leaf": item.leaf_index,
    }


def entry_facts(item: ledger_pb2.Entry, tz: Any) -> dict[str, Any]:
    """Everything about an entry."""
    return entry_row(item, tz) | {
        "full_level_reference_wh": item.full_level_reference_wh,
        "estimated_permille": item.estimated_permille,
        "shares": [f"{share.party} {share.amount_eur} EUR" for share in item.shares],
        "computation": item.computation,
        "evidence": list(item.evidence),
        "leaf_hash": item.leaf_hash,
        "posted_by": item.posted_by,
        "posted_at": item.posted_at.ToDatetime(tzinfo=UTC).isoformat(timespec="seconds"),
    }


async def entry_name(session: Session, given: str) -> str:
    """The resource name of an entry given as MEASURE/NUMBER. Raises InvalidInput."""
    measure, slash, number = given.partition("/")
    if not slash:
        raise InvalidInput.of("entry", f"{given!r} is no MEASURE/NUMBER")
    return f"{await session.name('measures', measure)}/entries/{number}"


@app.command("measures")
def measures(municipality: Town = "", as_json: Json = False) -> None:
    """List the measures of the town."""

    async def ask(session: Session) -> list[dict[str, Any]]:
        request = ledger_pb2.ListMeasuresRequest(parent=await session.parent())
        tz = await session.zone()
        return [
            {
                "measure": item.name.rsplit("/", 1)[-1],
                "name": item.display_name,
                "method": enum_word(ledger_pb2.Method.Name(item.method), "METHOD_"),
                "since": item.effective_from.ToDatetime(tzinfo=UTC).astimezone(tz),
                "luminaires": item.lighting.luminaire_count,
                "meters": len(item.meters),
                "posts by itself": item.post_automatically,
            }
            for item in await all_pages(session.ledger.ListMeasures, request, "measures")
        ]

    print_rows(online(ask, municipality), as_json, empty="there are no measures")


async def _period(
    session: Session, measure: ledger_pb2.Measure, night: str, start: str, end: str
) -> tuple[datetime, datetime]:
    tz = await session.zone()
    if night:
        if start or end:
            raise InvalidInput.of("night", "give either --night or --from and --until")
        day: date = parsing.day(night, "night")
        return night_bounds(day, tz) if measure.WhichOneof("baseline") == "lighting" else local_day_bounds(day, tz)
    if not (start and end):
        raise InvalidInput.of("night", "give --night, or --from and --until")
    now = datetime.now(UTC)
    return parsing.instant(start, tz, now, "from"), parsing.instant(end, tz, now, "until")


@app.command("post")
def post(
    measure: Measure,
    night: Annotated[
        str, typer.Option("--night", help="Date of the night's first noon (lighting), or of the local day (building).")
    ] = "",
    start: Annotated[str, typer.Option("--from", help="Begin of the period, local time.")] = "",
    end: Annotated[str, typer.Option("--until", help="End of the period, exclusive.")] = "",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Post the saving of a period. The same period again shows the entry that is there."""

    async def ask(session: Session) -> dict[str, Any]:
        name = await session.name("measures", measure)
        found = await session.ledger.GetMeasure(ledger_pb2.GetMeasureRequest(name=name))
        begin, until = await _period(session, found, night, start, end)
        request = ledger_pb2.PostEntryRequest(
            parent=name,
            start_time=timestamp_to_proto(begin),
            end_time=timestamp_to_proto(until),
            request_id=new_uid(),
        )
        return entry_facts(await session.ledger.PostEntry(request, timeout=120), await session.zone())

    print_facts(online(ask, municipality), as_json)


@app.command("entries")
def entries(
    measure: Annotated[str, typer.Argument(metavar="[MEASURE]", help="Id of the measure; default all.")] = "-",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """List entries in the order of the log."""

    async def ask(session: Session) -> list[dict[str, Any]]:
        request = ledger_pb2.ListEntriesRequest(parent=await session.name("measures", measure))
        tz = await session.zone()
        return [entry_row(item, tz) for item in await all_pages(session.ledger.ListEntries, request, "entries")]

    print_rows(online(ask, municipality), as_json, empty="nothing has been posted")


@app.command("show")
def show(
    entry: Annotated[str, typer.Argument(metavar="MEASURE/NUMBER", help="The entry.")],
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Show an entry with its computation and evidence, and whether it can be computed again."""

    async def ask(session: Session) -> dict[str, Any]:
        name = await entry_name(session, entry)
        found = await session.ledger.GetEntry(ledger_pb2.GetEntryRequest(name=name))
        again = await session.ledger.RecomputeEntry(ledger_pb2.RecomputeEntryRequest(name=name), timeout=120)
        outcome = enum_word(ledger_pb2.Recomputation.Name(again.outcome), "RECOMPUTATION_")
        return entry_facts(found, await session.zone()) | {
            "recomputed": outcome,
            "differences": list(again.differences),
        }

    print_facts(online(ask, municipality), as_json)


@app.command("reverse")
def reverse(
    entry: Annotated[str, typer.Argument(metavar="MEASURE/NUMBER", help="The entry.")],
    reason: Reason,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Take an entry back by a reversal; its period may then be posted anew."""

    async def ask(session: Session) -> dict[str, Any]:
        name = await entry_name(session, entry)
        request = ledger_pb2.ReverseEntryRequest(name=name, reason=reason, request_id=new_uid())
        return entry_facts(await session.ledger.ReverseEntry(request), await session.zone())

    print_facts(online(ask, municipality), as_json)


@app.command("statement")
def statement(
    measure: Annotated[str, typer.Argument(metavar="[MEASURE]", help="Id of the measure; default all.")] = "-",
    start: Annotated[str, typer.Option("--from", help="Only periods from then on.")] = "",
    end: Annotated[str, typer.Option("--until", help="Only periods up to then.")] = "",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Sum up what was saved: per measure, per party, with the tree head it rests on."""

    async def ask(session: Session) -> ledger_pb2.Statement:
        tz, now = await session.zone(), datetime.now(UTC)
        request = ledger_pb2.GetStatementRequest(parent=await session.name("measures", measure))
        if start:
            request.start_time.CopyFrom(timestamp_to_proto(parsing.instant(start, tz, now, "from")))
        if end:
            request.end_time.CopyFrom(timestamp_to_proto(parsing.instant(end, tz, now, "until")))
        return await session.ledger.GetStatement(request)

    found = online(ask, municipality)

    def line(item: ledger_pb2.StatementLine) -> dict[str, Any]:
        return {
            "measure": item.measure.rsplit("/", 1)[-1],
            "name": item.display_name,
            "entries": item.entries,
            "actual_wh": item.actual_wh,
            "baseline_wh": item.baseline_wh,
            "saved_wh": item.saved_wh,
            "saved_eur": item.saved_eur,
            "avoided_co2_g": item.avoided_co2_g,
            "uncertainty_wh": item.uncertainty_wh,
        }

    shares = {share.party: share.amount_eur for share in found.shares}
    head = {"tree_size": found.checkpoint.tree_size, "root_hash": found.checkpoint.root_hash.hex()}
    if as_json:
        lines = [line(item) for item in found.lines]
        print_json({"lines": lines, "total": line(found.total), "shares_eur": shares, "checkpoint": head})
        return
    rows = [line(item) for item in [*found.lines, found.total]]
    print_rows(
        [
            {
                "measure": row["measure"] or "all",
                "entries": row["entries"],
                "actual": kwh(row["actual_wh"]),
                "baseline": kwh(row["baseline_wh"]),
                "saved": kwh(row["saved_wh"]),
                "+-": kwh(row["uncertainty_wh"]),
                "EUR": row["saved_eur"],
                "kg CO2": f"{row['avoided_co2_g'] / 1000:.1f}",
            }
            for row in rows
        ],
        False,
    )
    for party, amount in shares.items():
        console.print(f"{party}: {amount} EUR", markup=False)
    console.print(f"rests on tree head {head['tree_size']} {head['root_hash']}")


async def exported(session: Session) -> AsyncIterator[str]:
    """The lines of a bundle: the whole log with its evidence."""
    parent = await session.parent()
    yield write_line(HeaderPart(parent))
    async for message in session.ledger.ExportLog(ledger_pb2.ExportLogRequest(parent=parent, with_evidence=True)):
        part = part_of_export(message)
        if part is not None:
            yield write_line(part)


@app.command("export")
def export(
    output: Annotated[Path, typer.Argument(metavar="FILE", help="The bundle, JSON Lines.")],
    municipality: Town = "",
) -> None:
    """Write the log with its evidence and checkpoint to a file that can be verified without us."""

    async def ask(session: Session) -> int:
        lines = 0
        scratch = output.with_name(f"{output.name}.part")
        with scratch.open("w", encoding="utf-8") as file:
            async for line in exported(session):
                file.write(line.rstrip("\n") + "\n")
                lines += 1
        scratch.replace(output)
        return lines

    note(f"{online(ask, municipality)} lines in {output}")


@app.command("verify")
def verify(
    bundle: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A bundle. Without one the log is fetched from the ledger.")
    ] = None,
    key: Annotated[
        str, typer.Option("--key", help="The ledger's key as you know it from elsewhere: fingerprint, hex or base64.")
    ] = "",
    witness: Annotated[
        list[Path] | None,
        typer.Option("--witness", help="A bundle kept from earlier: the log must still contain what it signed."),
    ] = None,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Prove the log: every leaf, every sum, every evidence, the root and its signature. Exit code 1 if it is not right.

    The verifier runs here and trusts nothing that the server says about itself; with a file it needs no server.
    """
    kept = [line for path in witness or [] for line in read_bundle(path)]
    witnessed = [part for line in kept if isinstance(part := read_line(line, first=line == kept[0]), Checkpoint)]
    stored: ledger_pb2.VerifyLogResponse | None = None
    if bundle is not None:
        lines = read_bundle(bundle)
    else:

        async def ask(session: Session) -> tuple[list[bytes], ledger_pb2.VerifyLogResponse]:
            exported_lines = [line.encode() async for line in exported(session)]
            request = ledger_pb2.VerifyLogRequest(parent=await session.parent())
            return exported_lines, await session.ledger.VerifyLog(request, timeout=300)

        lines, stored = online(ask, municipality)
    report = verify_bundle(lines, witnessed=witnessed)
    checked = key.strip().lower() == report.key_fingerprint
    if key and not checked:
        report, checked = verify_bundle(lines, key_bytes(key), witnessed), True
    problems = list(report.problems)
    if bundle is not None and not report.checkpoints:
        problems.append("the bundle has no checkpoint: nothing in it is signed")
    problems += [f"on the server: {problem}" for problem in (stored.problems if stored else ())]
    _show_report(report, problems, checked, bool(witnessed), as_json)
    if problems or (stored is not None and not stored.valid):
        raise typer.Exit(FOUND_WRONG)


def read_bundle(path: Path) -> list[bytes]:
    """The lines of a bundle. Raises InvalidInput."""
    try:
        return path.read_bytes().splitlines()
    except OSError as error:
        raise InvalidInput.of("file", f"{path} cannot be read: {error.strerror}") from error


def key_bytes(text: str) -> bytes:
    """An Ed25519 public key in hex or base64. Raises InvalidInput."""
    plain = text.strip()
    for decode in (bytes.fromhex, lambda given: base64.b64decode(given, validate=True)):
        try:
            found = decode(plain)
        except ValueError:
            continue
        if len(found) == 32:
            return found
    raise InvalidInput.of("key", "is neither a fingerprint nor an Ed25519 public key of 32 bytes in hex or base64")


def _show_report(
    report: VerificationReport, problems: list[str], key_checked: bool, witnessed: bool, as_json: bool
) -> None:
    if as_json:
        print_json(
            {
                "valid": not problems,
                "leaves": report.leaves,
                "root_hash": report.root_hash.hex(),
                "checkpoints": report.checkpoints,
                "evidence": report.evidence,
                "key_fingerprint": report.key_fingerprint,
                "key_checked": key_checked,
                "problems": problems,
            }
        )
        return
    note_lines(problems)
    verdict = "the log is right" if not problems else f"the log is NOT right: {len(problems)} problems"
    console.print(
        f"{verdict}: {report.leaves} leaves, {report.evidence} pieces of evidence, {report.checkpoints} checkpoints\n"
        f"root {report.root_hash.hex()}\nkey fingerprint {report.key_fingerprint or '(nothing is signed)'}"
    )
    if not key_checked:
        note(
            "the key is the log's own word: --key with the fingerprint that you know from elsewhere rules out a forger"
        )
    if not witnessed:
        note("a bundle cut off at its end is found only with --witness FILE: a bundle that you kept from earlier")
