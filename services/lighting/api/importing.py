"""ImportLuminaires: a whole inventory in columns, checked line by line and stored in one transaction or not at all."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import fields
from typing import Final

from sqlmodel import Session

from domain.canonical import canonical_hash
from domain.errors import InvalidInput, OutOfLimits
from domain.plan import from_unix_ms
from lichtbuch.lighting.v1 import inventory_pb2 as inv
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from servicekit import audit
from servicekit.context import Tenant, current_tenant
from servicekit.convert import timestamp_to_proto
from servicekit.idempotency import once
from services.lighting.api.calls import Calls, Context
from services.lighting.api.import_parts import MOST_PARTS, PartsStored, endpoints_of, store_parts
from services.lighting.inventory import CheckedImport, ImportColumns, check_import
from services.lighting.store.importing import Stored, references_of, store_import

MOST_REFUSALS: Final = 10_000
"""Refused lines that a report names, as the contract says."""


class ImportCalls(Calls):
    """Imports."""

    async def ImportLuminaires(
        self, request_iterator: AsyncIterator[pb.ImportLuminairesRequest], context: Context
    ) -> inv.ImportReport:
        """Takes all lines, or none; with skip_invalid those that are right; in a dry run none in any case."""
        settings, columns, parts = await _received(request_iterator)
        tenant, now_ms = current_tenant(), self.now_ms
        digest = _digest(columns, parts) if settings.request_id else b""
        with suppress(InvalidInput):  # the list was asked for anew, and what is not on it is refused with its line
            for name, field in endpoints_of(parts).items():
                await self.parts.endpoints.uid_of(tenant, name, field)

        def checked_and_stored(session: Session) -> inv.ImportReport:
            told = store_parts(session, tenant, parts, now_ms, settings.reason) if parts else PartsStored()
            checked = check_import(columns, references_of(session, tenant))
            takes = settings.skip_invalid or not (checked.refusals or told.refusals or settings.refused_by_reader)
            stores = takes and not settings.dry_run
            stored = store_import(session, tenant, checked, now_ms, dry_run=not stores, reason=settings.reason)
            report = _report(checked, told, stored, stores, now_ms)
            if parts and not stores:
                raise _NotStored(report)  # takes the parts back, which the lines were checked against
            if stores and (stored.created or stored.updated):
                self._record(session, tenant, settings, columns, report)
            return report

        if settings.dry_run and not parts:
            return await self.database.read(checked_and_stored)

        def run(session: Session) -> inv.ImportReport:
            return once(
                session,
                settings,
                inv.ImportReport,
                lambda: checked_and_stored(session),
                municipality_uid=tenant.uid,
                real=self.clock.real(),
                content=digest,
            )

        try:
            report = await self.database.run(run)
        except _NotStored as error:
            return error.report
        if any(part.WhichOneof("part") == "sensor" for part in parts):
            await self.parts.memory.refresh()  # whoever reports values of them next finds them
        return report

    def _record(
        self,
        session: Session,
        tenant: Tenant,
        settings: pb.ImportSettings,
        columns: ImportColumns,
        report: inv.ImportReport,
    ) -> None:
        """One record for the whole import: counts, and a hash of the ids that it was about."""
        after = {
            "created": report.created,
            "updated": report.updated,
            "unchanged": report.unchanged,
            "refused": report.refused,
            "skip_invalid": settings.skip_invalid,
            "ids_sha256": canonical_hash(columns.luminaire_ids),
        }
        audit.record(
            session, "", f"{tenant.name}/luminaires/-", tenant.uid, tenant.uid, after=after, reason=settings.reason
        )


class _NotStored(Exception):
    """An import that was looked at, with all that it brings, and is not to be stored."""

    def __init__(self, report: inv.ImportReport) -> None:
        super().__init__()
        self.report = report


async def _received(
    requests: AsyncIterator[pb.ImportLuminairesRequest],
) -> tuple[pb.ImportSettings, ImportColumns, list[inv.ImportedPart]]:
    """The settings of the first message, the columns of all others together, and the parts. Raises InvalidInput."""
    settings: pb.ImportSettings | None = None
    columns = ImportColumns()
    parts: list[inv.ImportedPart] = []
    async for request in requests:
        kind = request.WhichOneof("content")
        if settings is None:
            if kind != "settings":
                raise InvalidInput.of("settings", "the first message says how to import")
            settings = request.settings
        elif kind == "part":
            if len(parts) == MOST_PARTS:
                raise OutOfLimits.of("part", f"more than {MOST_PARTS} in one import")
            if request.part.WhichOneof("part") is None:
                raise InvalidInput.of("part.part", "is required")
            parts.append(request.part)
        elif kind != "columns":
            raise InvalidInput.of("columns", "every message after the first carries columns")
        else:
            columns.extend(columns_from_proto(request.columns))
            await asyncio.sleep(0)
    if settings is None:
        raise InvalidInput.of("settings", "the first message says how to import")
    return settings, columns, parts


def columns_from_proto(columns: inv.LuminaireColumns) -> ImportColumns:
    """Columns as plain lists."""
    return ImportColumns(**{field.name: list(getattr(columns, field.name)) for field in fields(ImportColumns)})


def _digest(columns: ImportColumns, parts: Sequence[inv.ImportedPart]) -> bytes:
    digest = hashlib.sha256(repr(columns).encode())
    for part in parts:
        digest.update(part.SerializeToString(deterministic=True))
    return digest.digest()


def _report(
    checked: CheckedImport, told: PartsStored, stored: Stored, committed: bool, now_ms: int
) -> inv.ImportReport:
    refusals = [*told.refusals, *checked.refusals]
    return inv.ImportReport(
        created=stored.created,
        updated=stored.updated,
        unchanged=stored.unchanged,
        refused=len({refusal.source_line for refusal in refusals}),
        refused_lines=[
            inv.RefusedLine(source_line=r.source_line, column=r.column, reason=r.reason, value=r.value)
            for r in refusals[:MOST_REFUSALS]
        ],
        committed=committed,
        imported_at=timestamp_to_proto(from_unix_ms(now_ms)),
        parts_created=told.created,
        parts_updated=told.updated,
        parts_unchanged=told.unchanged,
    )
