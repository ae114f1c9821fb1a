"""ImportLuminaires: a whole inventory in columns, checked line by line and stored in one transaction or not at all."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import fields
from typing import Final

from sqlmodel import Session

from domain.canonical import canonical_hash
from domain.errors import InvalidInput
from domain.plan import from_unix_ms
from lichtbuch.lighting.v1 import inventory_pb2 as inv
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from servicekit import audit
from servicekit.context import Tenant, current_tenant
from servicekit.convert import timestamp_to_proto
from servicekit.idempotency import once
from services.lighting.api.calls import Calls, Context
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
        settings, columns = await _received(request_iterator)
        tenant, now_ms = current_tenant(), self.now_ms
        digest = hashlib.sha256(repr(columns).encode()).digest() if settings.request_id else b""

        def checked_and_stored(session: Session) -> inv.ImportReport:
            checked = check_import(columns, references_of(session, tenant))
            takes = settings.skip_invalid or not (checked.refusals or settings.refused_by_reader)
            stores = takes and not settings.dry_run
            stored = store_import(session, tenant, checked, now_ms, dry_run=not stores, reason=settings.reason)
            report = _report(checked, stored, stores, now_ms)
            if stores and (stored.created or stored.updated):
                self._record(session, tenant, settings, columns, report)
            return report

        if settings.dry_run:
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

        return await self.database.run(run)

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


async def _received(requests: AsyncIterator[pb.ImportLuminairesRequest]) -> tuple[pb.ImportSettings, ImportColumns]:
    """The settings of the first message, and the columns of all others together. Raises InvalidInput."""
    settings: pb.ImportSettings | None = None
    columns = ImportColumns()
    async for request in requests:
        kind = request.WhichOneof("content")
        if settings is None:
            if kind != "settings":
                raise InvalidInput.of("settings", "the first message says how to import")
            settings = request.settings
        elif kind != "columns":
            raise InvalidInput.of("columns", "every message after the first carries columns")
        else:
            columns.extend(columns_from_proto(request.columns))
            await asyncio.sleep(0)
    if settings is None:
        raise InvalidInput.of("settings", "the first message says how to import")
    return settings, columns


def columns_from_proto(columns: inv.LuminaireColumns) -> ImportColumns:
    """Columns as plain lists."""
    return ImportColumns(**{field.name: list(getattr(columns, field.name)) for field in fields(ImportColumns)})


def _report(checked: CheckedImport, stored: Stored, committed: bool, now_ms: int) -> inv.ImportReport:
    return inv.ImportReport(
        created=stored.created,
        updated=stored.updated,
        unchanged=stored.unchanged,
        refused=checked.refused_lines,
        refused_lines=[
            inv.RefusedLine(source_line=r.source_line, column=r.column, reason=r.reason, value=r.value)
            for r in checked.refusals[:MOST_REFUSALS]
        ],
        committed=committed,
        imported_at=timestamp_to_proto(from_unix_ms(now_ms)),
    )
