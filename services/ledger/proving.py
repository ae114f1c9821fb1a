"""What an auditor takes along: inclusion and consistency proofs from the stored tree, and the export of a whole log."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlmodel import Session

from domain.errors import InvalidInput
from domain.names import ResourceName
from servicekit.context import Tenant
from servicekit.database import Database
from services.ledger import evidence, merkle
from services.ledger.bundle import EvidencePart, LeafPart
from services.ledger.checkpoint import Checkpoint
from services.ledger.entry import read_entry
from services.ledger.heads import Heads
from services.ledger.store import log
from services.ledger.store.entries import get_entry

_BATCH: Final = 50


@dataclass(frozen=True, slots=True)
class Inclusion:
    """An inclusion proof."""

    leaf_index: int
    tree_size: int
    hashes: list[bytes]
    leaf_hash: bytes
    root_hash: bytes


@dataclass(frozen=True, slots=True)
class Consistency:
    """A consistency proof."""

    first_size: int
    second_size: int
    hashes: list[bytes]
    first_root: bytes
    second_root: bytes


def prove_inclusion(session: Session, municipality_uid: str, name: ResourceName, tree_size: int) -> Inclusion:
    """Proof for an entry in a tree; size 0 is the newest. Raises NotFound, InvalidInput, Corrupted."""
    entry = get_entry(session, municipality_uid, name)
    size = _size(session, municipality_uid, tree_size, "tree_size")
    node = partial(log.node_at, session, municipality_uid)
    proof = merkle.inclusion_proof(entry.leaf_index, size, node)
    return Inclusion(entry.leaf_index, size, proof, entry.leaf_hash, merkle.root(size, node))


def prove_consistency(session: Session, municipality_uid: str, first: int, second: int) -> Consistency:
    """Proof that one tree is the beginning of another; `second` 0 is the newest. Raises InvalidInput, Corrupted."""
    size = _size(session, municipality_uid, second, "second_tree_size")
    node = partial(log.node_at, session, municipality_uid)
    proof = merkle.consistency_proof(first, size, node)
    return Consistency(first, size, proof, merkle.root(first, node), merkle.root(size, node))


async def export_log(
    database: Database, heads: Heads, tenant: Tenant, first_leaf: int, with_evidence: bool
) -> AsyncIterator[LeafPart | EvidencePart | Checkpoint]:
    """The log from a leaf on, each blob before the first leaf that refers to it, then every checkpoint, by size.

    What is appended meanwhile is left out: the newest checkpoint was signed before the first leaf is sent.
    """
    newest = await heads.newest(tenant.uid)
    sent: set[str] = set()
    index = first_leaf
    while index < newest.tree_size:
        count = min(_BATCH, newest.tree_size - index)
        leaves = await database.read(partial(_leaves, municipality_uid=tenant.uid, first=index, count=count))
        for leaf in leaves:
            if with_evidence:
                wanted = _blobs_of(leaf.data, sent)
                for part in await database.read(partial(_blobs, municipality_uid=tenant.uid, digests=wanted)):
                    yield part
            yield LeafPart(leaf.index, leaf.data, leaf.hash)
        if len(leaves) < count:
            break  # leaves are gone: the checkpoints that follow show it
        index = leaves[-1].index + 1
    for checkpoint in await database.read(lambda session: log.checkpoints(session, tenant.uid)):
        if checkpoint.tree_size <= newest.tree_size:
            yield checkpoint


def _size(session: Session, municipality_uid: str, asked: int, field: str) -> int:
    size = log.log_size(session, municipality_uid)
    if asked > size:
        raise InvalidInput.of(field, f"the log has {size} leaves")
    return asked or size


def _leaves(session: Session, municipality_uid: str, first: int, count: int) -> list[log.StoredLeaf]:
    return list(log.leaves(session, municipality_uid, first, count))


def _blobs_of(data: bytes, sent: set[str]) -> list[str]:
    """Hashes of the blobs of a leaf that were not sent yet; they count as sent from now on."""
    try:
        references = [evidence.parse_reference(reference) for reference in read_entry(data).evidence]
    except InvalidInput:
        return []  # the leaf is sent as it is, and a verifier says what is wrong with it
    wanted = [digest for label, digest in references if label in evidence.WITH_BLOB and digest not in sent]
    sent.update(wanted)
    return wanted


def _blobs(session: Session, municipality_uid: str, digests: list[str]) -> list[EvidencePart]:
    found = ((digest, log.evidence_bytes(session, municipality_uid, digest)) for digest in digests)
    return [EvidencePart(digest, data) for digest, data in found if data is not None]
