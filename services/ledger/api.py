"""The ledger's gRPC servicer: request in, the book's call, answer out; nothing else."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from sqlmodel import Session

from domain.errors import InvalidInput
from domain.names import ResourceName
from lichtbuch.ledger.v1 import ledger_pb2 as pb
from lichtbuch.ledger.v1 import ledger_pb2_grpc
from servicekit.context import Scope, Tenant, current_scope, current_tenant, current_tenants, scope_aware
from servicekit.convert import optional_timestamp_from_proto, timestamp_from_proto
from servicekit.paging import page
from services.ledger.book import Book
from services.ledger.bundle import EvidencePart, LeafPart
from services.ledger.checkpoint import Checkpoint
from services.ledger.convert import (
    checkpoint_to_proto,
    entry_to_proto,
    line_to_proto,
    measure_to_proto,
    shares_to_proto,
)
from services.ledger.entry import whole_milliseconds
from services.ledger.inspecting import inspect_log
from services.ledger.metrics import VERIFICATIONS
from services.ledger.proving import export_log, prove_consistency, prove_inclusion
from services.ledger.recomputing import recompute
from services.ledger.statement import state
from services.ledger.store.entries import StoredEntry, get_entry, list_entries
from services.ledger.store.measures import StoredMeasure, get_measure, list_measures

_ALL = "/measures/-"

Context = Any
"""grpc's servicer context. Nothing here needs it: what surrounds a call is in servicekit.context."""


class LedgerServicer(ledger_pb2_grpc.LedgerServiceServicer):
    """Serves the book."""

    def __init__(self, book: Book) -> None:
        self._book, self._database, self._heads = book, book.database, book.heads

    async def CreateMeasure(self, request: pb.CreateMeasureRequest, context: Context) -> pb.Measure:
        """Creates a measure and freezes its terms."""
        return await self._book.create_measure(request, current_tenant())

    async def GetMeasure(self, request: pb.GetMeasureRequest, context: Context) -> pb.Measure:
        """One measure."""
        tenant, name = current_tenant(), ResourceName.parse(request.name)
        measure = await self._database.read(lambda session: get_measure(session, tenant.uid, name))
        return measure_to_proto(measure, tenant)

    @scope_aware
    async def ListMeasures(self, request: pb.ListMeasuresRequest, context: Context) -> pb.ListMeasuresResponse:
        """Measures by name, of one municipality or of all that the caller may see."""
        tenants = sorted(current_tenants(), key=lambda tenant: tenant.id)
        scopes = {tenant.uid: current_scope(tenant) for tenant in tenants}

        def read(session: Session) -> pb.ListMeasuresResponse:
            def fetch(after: list[str | int | None] | None, limit: int) -> list[tuple[Tenant, StoredMeasure]]:
                found: list[tuple[Tenant, StoredMeasure]] = []
                for tenant in tenants:
                    if after is not None and tenant.id < str(after[0]):
                        continue
                    last = str(after[1]) if after is not None and tenant.id == after[0] else None
                    ids = _measure_ids(scopes[tenant.uid], tenant)
                    rest = limit - len(found)
                    rows = list_measures(session, tenant.uid, after=last, limit=rest, ids=ids)
                    found += [(tenant, row) for row in rows]
                    if len(found) >= limit:
                        break
                return found

            found = page(request, fetch, lambda pair: (pair[0].id, pair[1].measure_id))
            return pb.ListMeasuresResponse(
                measures=[measure_to_proto(measure, tenant) for tenant, measure in found.items],
                next_page_token=found.next_page_token,
            )

        return await self._database.read(read)

    async def PostEntry(self, request: pb.PostEntryRequest, context: Context) -> pb.Entry:
        """Posts the entry of a period, or answers the one that is there."""
        start = whole_milliseconds(timestamp_from_proto(request.start_time, "start_time"))
        end = whole_milliseconds(timestamp_from_proto(request.end_time, "end_time"))
        return await self._book.post(_one_measure(request.parent), start, end, current_tenant(), request)

    async def ReverseEntry(self, request: pb.ReverseEntryRequest, context: Context) -> pb.Entry:
        """Appends the reversal of an entry."""
        return await self._book.reverse(ResourceName.parse(request.name), current_tenant(), request)

    async def GetEntry(self, request: pb.GetEntryRequest, context: Context) -> pb.Entry:
        """One entry."""
        tenant, name = current_tenant(), ResourceName.parse(request.name)
        return entry_to_proto(await self._database.read(lambda session: get_entry(session, tenant.uid, name)))

    @scope_aware
    async def ListEntries(self, request: pb.ListEntriesRequest, context: Context) -> pb.ListEntriesResponse:
        """Entries in the order of the log, of one measure or of all."""
        tenants = sorted(current_tenants(), key=lambda tenant: tenant.id)
        scopes = {tenant.uid: current_scope(tenant) for tenant in tenants}

        def read(session: Session) -> pb.ListEntriesResponse:
            chosen = [(tenant, _chosen(session, tenant, request.parent, scopes[tenant.uid])) for tenant in tenants]

            def fetch(after: list[str | int | None] | None, limit: int) -> list[tuple[Tenant, StoredEntry]]:
                found: list[tuple[Tenant, StoredEntry]] = []
                for tenant, measures in chosen:
                    if after is not None and tenant.id < str(after[0]):
                        continue
                    last = int(after[1] or 0) if after is not None and tenant.id == after[0] else None
                    rest = limit - len(found)
                    uids = [measure.uid for measure in measures]
                    rows = list_entries(session, tenant.uid, measure_uids=uids, after_leaf=last, limit=rest)
                    found += [(tenant, row) for row in rows]
                    if len(found) >= limit:
                        break
                return found

            found = page(request, fetch, lambda pair: (pair[0].id, pair[1].leaf_index))
            return pb.ListEntriesResponse(
                entries=[entry_to_proto(entry) for _, entry in found.items], next_page_token=found.next_page_token
            )

        return await self._database.read(read)

    async def RecomputeEntry(self, request: pb.RecomputeEntryRequest, context: Context) -> pb.RecomputeEntryResponse:
        """Computes an entry again from its sources."""
        name = ResourceName.parse(request.name)
        found = await recompute(self._database, self._book.sources, current_tenant(), name)
        if found.missing:
            return pb.RecomputeEntryResponse(outcome=pb.RECOMPUTATION_INPUTS_MISSING, differences=found.missing)
        outcome = pb.RECOMPUTATION_DIFFERS if found.differences else pb.RECOMPUTATION_EQUAL
        return pb.RecomputeEntryResponse(outcome=outcome, differences=found.differences)

    @scope_aware
    async def GetStatement(self, request: pb.GetStatementRequest, context: Context) -> pb.Statement:
        """Sums over a period. A statement over several municipalities bears no checkpoint: they have one each."""
        start = optional_timestamp_from_proto(request, "start_time")
        end = optional_timestamp_from_proto(request, "end_time")
        if start is not None and end is not None and end <= start:
            raise InvalidInput.of("end_time", "it does not lie after start_time")
        tenants = sorted(current_tenants(), key=lambda tenant: tenant.id)
        scopes = {tenant.uid: current_scope(tenant) for tenant in tenants}
        # Signed first: every entry summed up afterwards that it does not cover would be one too many, none too few.
        checkpoint = await self._heads.newest(tenants[0].uid) if len(tenants) == 1 else None

        def read(session: Session) -> pb.Statement:
            entries: list[StoredEntry] = []
            measures: dict[str, tuple[str, str]] = {}
            for tenant in tenants:
                chosen = _chosen(session, tenant, request.parent, scopes[tenant.uid])
                for measure in chosen:
                    shown = measure_to_proto(measure, tenant)
                    measures[measure.uid] = (shown.name, shown.display_name)
                uids = [measure.uid for measure in chosen]
                entries += list_entries(session, tenant.uid, measure_uids=uids, start=start, end=end)
            if checkpoint is not None:
                entries = [stored for stored in entries if stored.leaf_index < checkpoint.tree_size]
            reversed_uids = {stored.entry.uid for stored in entries if stored.reversed_by}
            statement = state((stored.entry for stored in entries), reversed_uids)
            return pb.Statement(
                lines=[line_to_proto(line, *measures[uid]) for uid, line in statement.lines.items()],
                total=line_to_proto(statement.total, "", ""),
                shares=shares_to_proto(statement),
                checkpoint=checkpoint_to_proto(checkpoint) if checkpoint is not None else None,
            )

        return await self._database.read(read)

    async def GetCheckpoint(self, request: pb.GetCheckpointRequest, context: Context) -> pb.Checkpoint:
        """The newest signed tree head."""
        return checkpoint_to_proto(await self._heads.newest(current_tenant().uid))

    async def GetInclusionProof(self, request: pb.GetInclusionProofRequest, context: Context) -> pb.InclusionProof:
        """Proves that an entry is in the log."""
        tenant, name = current_tenant(), ResourceName.parse(request.name)
        found = await self._database.read(lambda s: prove_inclusion(s, tenant.uid, name, request.tree_size))
        return pb.InclusionProof(
            leaf_index=found.leaf_index,
            tree_size=found.tree_size,
            hashes=found.hashes,
            leaf_hash=found.leaf_hash,
            root_hash=found.root_hash,
        )

    async def GetConsistencyProof(
        self, request: pb.GetConsistencyProofRequest, context: Context
    ) -> pb.ConsistencyProof:
        """Proves that a smaller log is the beginning of a larger one."""
        tenant, first, second = current_tenant(), request.first_tree_size, request.second_tree_size
        found = await self._database.read(lambda s: prove_consistency(s, tenant.uid, first, second))
        return pb.ConsistencyProof(
            first_tree_size=found.first_size,
            second_tree_size=found.second_size,
            hashes=found.hashes,
            first_root_hash=found.first_root,
            second_root_hash=found.second_root,
        )

    async def ExportLog(self, request: pb.ExportLogRequest, context: Context) -> AsyncIterator[pb.ExportLogResponse]:
        """Sends the log, evidence where asked, checkpoints last."""
        tenant = current_tenant()
        async for part in export_log(self._database, self._heads, tenant, request.first_leaf, request.with_evidence):
            yield _export(part)

    async def VerifyLog(self, request: pb.VerifyLogRequest, context: Context) -> pb.VerifyLogResponse:
        """Verifies everything that is stored."""
        uid = current_tenant().uid
        in_file, problems = await self._heads.read_file(uid)
        report = await self._database.read(
            lambda session: inspect_log(session, uid, self._heads.trusted_keys, in_file, problems)
        )
        VERIFICATIONS.labels("true" if report.valid else "false").inc()
        return pb.VerifyLogResponse(
            valid=report.valid,
            leaves=report.leaves,
            root_hash=report.root_hash.hex(),
            problems=report.problems,
        )


def _one_measure(name: str) -> ResourceName:
    return ResourceName.parse(name, field="parent", collection="measures")


def _chosen(session: Session, tenant: Tenant, parent: str, scope: Scope) -> Sequence[StoredMeasure]:
    """The measures that a parent means: one, or with "-" all in scope. Raises NotFound, NotPermitted."""
    if parent.endswith(_ALL):
        return list_measures(session, tenant.uid, ids=_measure_ids(scope, tenant))
    scope.require(parent)
    return [get_measure(session, tenant.uid, _one_measure(parent))]


def _measure_ids(scope: Scope, tenant: Tenant) -> list[str] | None:
    """Ids of the measures that a limited scope holds; None without limit."""
    if scope.names is None:
        return None
    prefix = f"{tenant.name}/measures/"
    return [name.removeprefix(prefix) for name in scope.names if name.startswith(prefix) and name.count("/") == 3]


def _export(part: LeafPart | EvidencePart | Checkpoint) -> pb.ExportLogResponse:
    if isinstance(part, LeafPart):
        return pb.ExportLogResponse(leaf=pb.Leaf(index=part.index, data=part.data, hash=part.hash))
    if isinstance(part, EvidencePart):
        return pb.ExportLogResponse(evidence=pb.Evidence(hash=part.hash, data=part.data))
    return pb.ExportLogResponse(checkpoint=checkpoint_to_proto(part))
