"""Verifying the stored log on the server: the offline verifier over the tables, and the tables against each other.

Beside leaves, evidence and checkpoints the database keeps inner nodes (for proofs) and an index of entries (to find
them). Both follow from the leaves, so both can be wrong; the checkpoint file outside has its say, too.
"""

from collections.abc import Iterator, Sequence

from sqlmodel import Session

from domain.errors import InvalidInput
from services.ledger import merkle
from services.ledger.checkpoint import Checkpoint
from services.ledger.entry import read_entry
from services.ledger.store import log
from services.ledger.store.entries import index_rows
from services.ledger.store.tables import EntryRow
from services.ledger.verify import LogVerifier, VerificationReport


def inspect_log(
    session: Session,
    municipality_uid: str,
    trusted_keys: frozenset[bytes],
    in_file: Sequence[Checkpoint],
    file_problems: Sequence[str],
) -> VerificationReport:
    """Looks at everything that is stored of a log. in_file: what the checkpoint file holds, and what is wrong in it."""

    def evidence_of(digest: str) -> bytes | None:
        return log.evidence_bytes(session, municipality_uid, digest)

    verifier = LogVerifier(trusted_keys, municipality_uid, evidence_of)
    leaves = []
    for leaf in log.leaves(session, municipality_uid):
        verifier.add_leaf(leaf.index, leaf.data, leaf.hash)
        leaves.append(leaf)
    size = log.log_size(session, municipality_uid)
    if size != len(leaves):
        verifier.note(f"the log counts {size} leaves, {len(leaves)} are there")
    for problem in (
        *_index_problems(leaves, index_rows(session, municipality_uid)),
        *_node_problems(leaves, log.nodes(session, municipality_uid)),
        *file_problems,
    ):
        verifier.note(problem)
    for checkpoint in log.checkpoints(session, municipality_uid):
        verifier.add_checkpoint(checkpoint, "database")
    for checkpoint in in_file:
        verifier.add_checkpoint(checkpoint, "file")
    return verifier.finish()


def _node_problems(leaves: Sequence[log.StoredLeaf], stored: dict[tuple[int, int], bytes]) -> Iterator[str]:
    """Inner nodes that are not what the stored leaf bytes give."""
    tree: dict[tuple[int, int], bytes] = {}
    for size, leaf in enumerate(leaves):
        digest = merkle.leaf_hash(leaf.data)
        for level, index, node in merkle.completed_by(size, digest, lambda level, index: tree[level, index]):
            tree[level, index] = node
    computed = {place: node for place, node in tree.items() if place[0] > 0}
    for level, index in sorted(computed.keys() | stored.keys()):
        if computed.get((level, index)) != stored.get((level, index)):
            first, last = index << level, ((index + 1) << level) - 1
            yield f"the stored node over the leaves {first} to {last} is not what they give"


def _index_problems(leaves: Sequence[log.StoredLeaf], rows: Sequence[EntryRow]) -> Iterator[str]:
    """Leaves that the index of entries does not show as they are."""
    indexed = {row.leaf_index: row for row in rows}
    for leaf in leaves:
        row = indexed.pop(leaf.index, None)
        if row is None:
            yield f"leaf {leaf.index}: the index of entries does not know it"
            continue
        try:
            entry = read_entry(leaf.data)
        except InvalidInput:
            continue  # the verifier says so
        right = (entry.uid, entry.measure_uid, entry.number, entry.kind.value, entry.start, entry.end)
        shown = (row.uid, row.measure_uid, row.number, row.kind, row.start_at, row.end_at)
        if right != shown or entry.reverses_uid != (row.reverses_uid or ""):
            yield f"leaf {leaf.index} ({entry.name}): the index of entries shows it as something else"
    for index in indexed:
        yield f"leaf {index}: the index of entries knows it, the log does not"
