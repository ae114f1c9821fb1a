"""The verifier: hashes, roots, signatures and entries of a whole log, with no server and no database. Pure.

`LogVerifier` takes the pieces as they come; `verify_bundle` feeds it from a bundle file (its format: bundle.py). The
server's own VerifyLog feeds it from its tables.

What a sound report proves: every leaf has its hash, every
checkpoint is signed and has the root of exactly these leaves in this order, every entry follows from its evidence.
What it cannot prove alone: that the newest leaves were not cut off together with their checkpoints, and that the key is
the right one. For that the auditor keeps a checkpoint of an earlier visit (`witnessed`) and the key (`trusted_key`).
"""

import hashlib
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from domain.canonical import sha256_hex
from domain.errors import InvalidInput
from services.ledger import bundle
from services.ledger.checkpoint import Checkpoint, checkpoint_problems
from services.ledger.checks import EntryChecker, EvidenceOf
from services.ledger.entry import read_entry
from services.ledger.merkle import Frontier, leaf_hash

MAX_PROBLEMS: Final = 1000
"""A log that was replaced as a whole is wrong in every leaf: nobody reads more than this."""


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """What was looked at and what is wrong. key_fingerprint: SHA-256 over the public key that signed, in hex."""

    origin: str
    leaves: int
    root_hash: bytes
    checkpoints: int
    newest_checkpoint_size: int
    evidence: int
    key_fingerprint: str
    problems: tuple[str, ...]

    @property
    def valid(self) -> bool:
        """True if nothing is wrong."""
        return not self.problems


@dataclass(slots=True)
class _Leaf:
    data: bytes
    hash: bytes


@dataclass(slots=True)
class LogVerifier:
    """Collects the pieces of one log, in any order but the leaves', and judges them at `finish`.

    trusted_keys: public keys that may sign; None takes the one that the checkpoints bring. evidence_of: where evidence
    lies if it is not added piece by piece. origin: uid of the municipality; empty takes that of the checkpoints.
    """

    trusted_keys: frozenset[bytes] | None = None
    origin: str = ""
    evidence_of: EvidenceOf | None = None
    problems: list[str] = field(default_factory=list)
    _leaves: list[_Leaf] = field(default_factory=list)
    _roots: list[bytes] = field(default_factory=lambda: [Frontier().root()])
    _frontier: Frontier = field(default_factory=Frontier)
    _checkpoints: list[tuple[Checkpoint, str]] = field(default_factory=list)
    _evidence: dict[str, bytes] = field(default_factory=dict)

    def add_leaf(self, index: int, data: bytes, stored_hash: bytes) -> None:
        """The next leaf. Its hash is computed from its bytes; the stored one only has to agree."""
        expected = len(self._leaves)
        if index != expected:
            which = f"leaf {expected} is" if index == expected + 1 else f"leaves {expected} to {index - 1} are"
            missing = index > expected
            self.note(f"{which} missing" if missing else f"leaf {index} comes out of order or twice")
            # Go on at the place it claims, so that every further problem bears the right number.
            self._pad(index)
        computed = leaf_hash(data)
        if computed != stored_hash:
            self.note(f"leaf {index}: its bytes were changed: they have the hash {computed.hex()}, not the stored one")
        self._append(_Leaf(data, computed))

    def add_evidence(self, claimed_hash: str, data: bytes) -> None:
        """A blob of evidence."""
        if sha256_hex(data) != claimed_hash:
            self.note(f"evidence {claimed_hash}: its bytes were changed: they have the hash {sha256_hex(data)}")
        self._evidence[claimed_hash] = zlib.compress(data, 1)

    def add_checkpoint(self, checkpoint: Checkpoint, source: str = "") -> None:
        """A checkpoint; `source` says in words where it was found."""
        self._checkpoints.append((checkpoint, source))

    def note(self, problem: str) -> None:
        """Something that is wrong, found by whoever reads the pieces."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)

    def finish(self) -> VerificationReport:
        """Judges checkpoints and entries."""
        origin = self.origin or (self._checkpoints[0][0].origin if self._checkpoints else "")
        self._judge_checkpoints(origin)
        self._judge_entries(origin)
        newest = max((checkpoint.tree_size for checkpoint, _ in self._checkpoints), default=0)
        keys = {checkpoint.public_key for checkpoint, _ in self._checkpoints}
        return VerificationReport(
            origin=origin,
            leaves=len(self._leaves),
            root_hash=self._frontier.root(),
            checkpoints=len(self._checkpoints),
            newest_checkpoint_size=newest,
            evidence=len(self._evidence),
            key_fingerprint=hashlib.sha256(min(keys)).hexdigest() if keys else "",
            problems=tuple(self.problems),
        )

    def _judge_checkpoints(self, origin: str) -> None:
        if not self._checkpoints:
            if self._leaves:
                self.note("there is no checkpoint: nothing vouches for these leaves")
            return
        if self.trusted_keys is None and len({checkpoint.public_key for checkpoint, _ in self._checkpoints}) > 1:
            self.note("the checkpoints are signed with several keys: say which one is trusted")
        sound_until = 0
        blamed: set[tuple[int, int]] = set()
        for checkpoint, source in sorted(self._checkpoints, key=lambda pair: pair[0].tree_size):
            title = f"checkpoint of {checkpoint.tree_size} leaves{f' ({source})' if source else ''}"
            for problem in checkpoint_problems(checkpoint, origin, self.trusted_keys):
                self.note(f"{title}: {problem}")
            if checkpoint.tree_size > len(self._leaves):
                self.note(f"{title}: the log holds {len(self._leaves)} leaves only; {self._cut_off(checkpoint)}")
            elif self._roots[checkpoint.tree_size] == checkpoint.root_hash:
                sound_until = max(sound_until, checkpoint.tree_size)
            else:
                self._blame(title, sound_until, checkpoint.tree_size, blamed)
        newest = max(checkpoint.tree_size for checkpoint, _ in self._checkpoints)
        if newest < len(self._leaves):
            self.note(f"{_leaf_range(newest, len(self._leaves))} not covered by any checkpoint")

    def _blame(self, title: str, first: int, end: int, blamed: set[tuple[int, int]]) -> None:
        """A root differs: what changed lies between the last checkpoint that holds and the first that does not."""
        if not blamed:
            blamed.add((first, end))
            where = f"leaf {first} was" if end == first + 1 else f"one or more of the leaves {first} to {end - 1} were"
            self.note(f"{title}: the leaves have another root: {where} changed, exchanged or put in")
        else:
            self.note(f"{title}: the leaves have another root, too")

    def _cut_off(self, checkpoint: Checkpoint) -> str:
        first, last = len(self._leaves), checkpoint.tree_size - 1
        return f"leaf {first} is missing" if first == last else f"the leaves {first} to {last} are missing"

    def _judge_entries(self, origin: str) -> None:
        checker = EntryChecker(origin, self.evidence_of or self._kept)
        for index, leaf in enumerate(self._leaves):
            if not leaf.data:
                continue  # it is missing, and that was said
            try:
                entry = read_entry(leaf.data)
            except InvalidInput as error:
                self.note(f"leaf {index}: it is no entry: {error}")
                continue
            for problem in checker.check(entry, leaf.hash):
                self.note(f"leaf {index} ({entry.name}): {problem}")

    def _kept(self, digest: str) -> bytes | None:
        packed = self._evidence.get(digest)
        return None if packed is None else zlib.decompress(packed)

    def _append(self, leaf: _Leaf) -> None:
        self._leaves.append(leaf)
        self._frontier.append(leaf.hash)
        self._roots.append(self._frontier.root())

    def _pad(self, index: int) -> None:
        # No more than a bundle can hold: a wild index must not fill the memory.
        for _ in range(len(self._leaves), min(index, len(self._leaves) + 100_000)):
            self._append(_Leaf(b"", bytes(32)))


def verify_bundle(
    lines: Iterable[str | bytes], trusted_key: bytes | None = None, witnessed: Sequence[Checkpoint] = ()
) -> VerificationReport:
    """Verifies a bundle, line by line. Never raises for what is in it: whatever is wrong stands in the report.

    trusted_key: the Ed25519 public key (32 bytes) that the auditor knows to be the ledger's. witnessed: checkpoints
    that the auditor kept from earlier; the log must still contain them.
    """
    verifier = LogVerifier(None if trusted_key is None else frozenset({trusted_key}))
    for checkpoint in witnessed:
        verifier.add_checkpoint(checkpoint, "kept from earlier")
    parts = 0
    for number, line in enumerate(lines, start=1):
        try:
            part = bundle.read_line(line, first=parts == 0)
        except InvalidInput as error:
            verifier.note(f"line {number}: {error}")
            parts += 1
            continue
        if part is None:
            continue
        parts += 1
        if isinstance(part, bundle.LeafPart):
            verifier.add_leaf(part.index, part.data, part.hash)
        elif isinstance(part, bundle.EvidencePart):
            verifier.add_evidence(part.hash, part.data)
        elif isinstance(part, Checkpoint):
            verifier.add_checkpoint(part)
    if not parts:
        verifier.note("the bundle is empty")
    return verifier.finish()


def _leaf_range(first: int, end: int) -> str:
    return f"leaf {first} is" if end == first + 1 else f"the leaves {first} to {end - 1} are"
