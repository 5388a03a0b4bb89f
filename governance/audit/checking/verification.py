"""Checks a bundle offline: row → entry → envelope → leaf → proof → checkpoint → pinned key.

The record is not in the log. It is computed again from the bundled entries by the function that made
it, and must come out the same. Nothing in the bundle is trusted, least of all the key it names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance.audit import standalone
from governance.audit.audience import WHOLE
from governance.audit.bundle import (
    CHECKPOINT,
    ENTRIES,
    HOWTO,
    HOWTO_TEXT,
    HTML,
    KEY,
    MANIFEST,
    PROOFS,
    RECORD,
    ROTATIONS,
    SIGNATURE,
    VERIFIER,
    BundledEntry,
    manifest,
    read_proofs,
    read_signature,
    signs,
    unlisted,
)
from governance.audit.checking import container
from governance.audit.checking.container import Failed
from governance.audit.checking.recomputation import MALFORMED, Recomputation
from governance.audit.comparing import resting_on
from governance.audit.rotations import check_rotations, read_rotations, terms_of
from governance.audit.trail import read_trail
from governance.errors import GovernanceError
from governance.log.note import Checkpoint, VerifierKey
from governance.log.proof import InclusionProof
from governance.log.rotation import Handover, Term, open_checkpoint
from governance.log.tree import verify_consistency, verify_inclusion
from governance.log.witnesses.trust import Trust, Vouched
from governance.model.canonical import canonical, parse

_FIXED = frozenset({RECORD, HTML, CHECKPOINT, KEY, PROOFS, MANIFEST, SIGNATURE, HOWTO})


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome. ``ok`` is true only under a pinned key and when nothing failed.

    ``self_attested`` is false when pinned witnesses cosigned the checkpoint; ``by`` says so in words for a
    heading. ``rows_checked`` counts rows that were computed again and are the same, or, where the ``audience`` is
    not given all bodies, whose every entry is proved. ``first_failure`` names file and row. ``lines`` say what was
    checked, what was not, and what cannot be known.
    """

    ok: bool
    pinned: bool
    self_attested: bool
    rows_checked: int
    first_failure: str | None
    lines: tuple[str, ...]
    by: str = "self-attested"
    audience: str = WHOLE.name
    bodies_withheld: int = 0

    @property
    def code(self) -> str | None:
        """GOV-802 when something failed, GOV-803 when only the key was missing."""
        return "GOV-802" if self.first_failure else None if self.pinned else "GOV-803"

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "code": self.code,
            "pinned": self.pinned,
            "self_attested": self.self_attested,
            "by": self.by,
            "audience": self.audience,
            "bodies_withheld": self.bodies_withheld,
            "rows_checked": self.rows_checked,
            "first_failure": self.first_failure,
            "lines": list(self.lines),
        }


def verify_bundle(
    bundle: Path | bytes, vkey: str | None, *, older_checkpoint: str | None = None, trust: Trust | None = None
) -> Verdict:
    """Check a bundle with nothing but itself and a key.

    Args:
        bundle: the file, or what it holds.
        vkey: the log's public key, from elsewhere. Without it the bundle is checked against the key it
            names itself, which proves nothing about who made it.
        older_checkpoint: a signed note from before, with which the log must still be consistent.
        trust: the witnesses that are pinned.

    Raises:
        AuditError: GOV-801 when the file is no bundle at all.
        LogError: GOV-506 when ``vkey`` is not a public key.
    """
    if vkey is not None:
        VerifierKey.parse(vkey)
    check = _Check(container.read(bundle), vkey, trust or Trust())
    failure: str | None = None
    try:
        check.run(older_checkpoint)
    except Failed as fault:
        failure = str(fault)
    if check.packed.damaged:
        also = "" if failure is None else f"; {failure}"
        failure = f"{check.packed.damaged[0]}: its bytes are not those that were packed{check.who()}{also}"
    return Verdict(
        ok=failure is None and vkey is not None,
        pinned=vkey is not None,
        self_attested=check.vouched.size is None,
        rows_checked=check.again.rows,
        first_failure=failure,
        lines=tuple(check.lines),
        by=check.vouched.phrase,
        audience=check.again.audience.name,
        bodies_withheld=check.again.withheld,
    )


class _Check:
    """One run over a bundle. ``lines`` and ``again`` grow as it gets on."""

    def __init__(self, packed: container.Packed, vkey: str | None, trust: Trust) -> None:
        self.packed = packed
        self.lines: list[str] = []
        self.again = Recomputation({}, b"")
        self.vouched = Vouched(None, (), (), ())
        self._vkey = vkey
        self._trust = trust
        self._files = packed.members
        self._record: dict[str, Any] = {}

    def run(self, older: str | None) -> None:
        """Raises :class:`Failed` at the first thing that does not hold."""
        for name in sorted(_FIXED):
            if name not in self._files:
                raise Failed(name, "is missing")
        self._record = self._read_record()
        terms, carried = self._keys()
        checkpoint = self._checkpoint(terms)
        try:
            proofs, consistency = read_proofs(self._files[PROOFS])
        except (*MALFORMED, GovernanceError):
            raise Failed(PROOFS, "is not of the form bundles have") from None
        check_rotations(carried, checkpoint, consistency)
        entries = self._entries(checkpoint, proofs)
        evidence_key = self._genesis(entries, terms)
        self._recompute(entries, checkpoint)
        self._rest()
        self._signature(evidence_key)
        if older is not None:
            self._older(older, terms, checkpoint, consistency)
        self._cannot_know(older)

    def who(self) -> str:
        """Which row rests on the first damaged file, in words."""
        name = self.packed.damaged[0]
        if name.startswith(ENTRIES) and self._record:
            return resting_on(self._record, _index(name))
        return ""

    def _read_record(self) -> dict[str, Any]:
        data = self._files[RECORD]
        try:
            record = parse(data)
            if not isinstance(record, dict) or canonical(record) != data:
                raise ValueError
        except MALFORMED:
            raise Failed(RECORD, "is not canonical JSON (RFC 8785)") from None
        return record

    def _keys(self) -> tuple[list[Term], list[Handover]]:
        named = self._files[KEY].decode("utf-8", "replace").removesuffix("\n")
        if self._vkey is None:
            self.lines.append(
                "NO KEY WAS PINNED: checked against the key that the bundle names itself. Anyone can make "
                "such a bundle. Get the log's public key from elsewhere and pass it."
            )
        carried = read_rotations(self._files)
        terms = terms_of(named, self._vkey or named, carried)
        if self._vkey not in (None, named):
            self.lines.append(
                "The log's key was rotated: the pinned key and each after it signed who follows."
            )
        return terms, carried

    def _checkpoint(self, terms: list[Term]) -> Checkpoint:
        try:
            checkpoint = open_checkpoint(self._files[CHECKPOINT].decode("utf-8"), terms)
            self.vouched = self._trust.vouched([checkpoint])
        except UnicodeDecodeError:
            raise Failed(CHECKPOINT, "is not UTF-8") from None
        except GovernanceError as fault:
            raise Failed(CHECKPOINT, fault.message) from None
        if checkpoint.size < 1:
            raise Failed(CHECKPOINT, "is of an empty log")
        self.lines.append(
            f"The checkpoint of {checkpoint.origin} at {checkpoint.size:,} entries is signed by the "
            f"{'pinned' if self._vkey else 'bundle’s own'} key."
        )
        return checkpoint

    def _entries(
        self, checkpoint: Checkpoint, proofs: Mapping[int, InclusionProof]
    ) -> dict[int, BundledEntry]:
        entries: dict[int, BundledEntry] = {}
        names = [name for name in self._files if name not in _FIXED | {ROTATIONS, VERIFIER}]
        for name in sorted(names, key=lambda n: (_index(n), n)):
            index = _index(name)
            where = resting_on(self._record, index)
            if name != f"{ENTRIES}{index}.json":
                raise Failed(name, "is no file of a bundle")
            try:
                entry = BundledEntry.from_bytes(self._files[name])
                if entry.index != index:
                    raise ValueError("it is another entry than its name says")
                if index not in proofs:
                    raise ValueError("proofs.json has no proof of it")
                _verify_inclusion(entry, proofs[index], checkpoint)
            except GovernanceError as fault:
                raise Failed(name, f"{fault.message}{where}") from None
            except MALFORMED as fault:
                raise Failed(name, f"{fault}{where}") from None
            if proofs[index].index != index:
                raise Failed(PROOFS, f"the proof of entry {index} is of another")
            entries[index] = entry
        if stray := sorted(set(proofs) - set(entries)):
            raise Failed(f"{ENTRIES}{stray[0]}.json", f"is missing{resting_on(self._record, stray[0])}")
        bodies = sum(entry.body is not None for entry in entries.values())
        self.lines.append(
            f"{len(entries):,} entries: each leaf is under the checkpoint, each body, of which {bodies:,} are here, is "
            "the one its leaf commits to."
        )
        return entries

    def _genesis(self, entries: Mapping[int, BundledEntry], terms: list[Term]) -> bytes | None:
        if 0 not in entries:
            raise Failed(f"{ENTRIES}0.json", "the genesis is missing")
        if entries[0].body is None:
            raise Failed(f"{ENTRIES}0.json", "the genesis has no body")
        genesis = read_trail([entries[0]], 1)
        if genesis.log_key is not None and genesis.log_key != str(terms[0].key):
            raise Failed(f"{ENTRIES}0.json", "the genesis names another key for the log")
        return genesis.evidence_key

    def _recompute(self, entries: Mapping[int, BundledEntry], checkpoint: Checkpoint) -> None:
        self.again = Recomputation(self._record, self._files[HTML])
        try:
            self.again.run(entries, checkpoint)
        finally:
            audience = self.again.audience
            self.lines.append(f"Made for {audience.title} (audience {audience.name}).")
            self.lines += self.again.lines

    def _rest(self) -> None:
        if self._files[HOWTO] != HOWTO_TEXT.encode():
            raise Failed(HOWTO, "is not the text that bundles of this format carry")
        if self._files.get(VERIFIER, b"") not in (b"", standalone.source()):
            if self.again.same_version:
                raise Failed(VERIFIER, "is not the verifier that bundles of this version carry")
            self.lines.append("verify.py is of another version: do not run it, take one from elsewhere.")
        if self._files[MANIFEST] != manifest(self._files):
            raise Failed(MANIFEST, unlisted(self._files))

    def _signature(self, evidence_key: bytes | None) -> None:
        try:
            public_key, signature = read_signature(self._files[SIGNATURE])
        except MALFORMED:
            raise Failed(SIGNATURE, "is not of the form bundles have") from None
        if evidence_key is None or public_key != evidence_key:
            raise Failed(SIGNATURE, "is not by the evidence key that the genesis names")
        if not signs(public_key, signature, self._files[MANIFEST]):
            raise Failed(
                SIGNATURE, "does not hold: entries or rows may have been left out, or files exchanged"
            )
        self.lines.append("Every file is one that the operator's evidence key signed for.")

    def _older(
        self, note: str, terms: list[Term], checkpoint: Checkpoint, consistency: Mapping[int, list[bytes]]
    ) -> None:
        try:
            older = open_checkpoint(note, terms)
        except GovernanceError as fault:
            raise Failed("the older checkpoint", fault.message) from None
        if older.size == checkpoint.size and older.root == checkpoint.root:
            self.lines.append("The older checkpoint is the bundle's own.")
            return
        if older.size not in consistency and older.size != checkpoint.size:
            newer = older.size > checkpoint.size
            raise Failed(
                "the older checkpoint",
                f"is of {older.size:,} entries, {'more than' if newer else 'and the bundle has no proof from it to'}"
                f" the bundle's {checkpoint.size:,}: it cannot be compared",
            )
        try:
            proof = consistency.get(older.size, [])
            verify_consistency(older.size, checkpoint.size, proof, older.root, checkpoint.root)
        except GovernanceError as fault:
            raise Failed("the older checkpoint", fault.message) from None
        self.lines.append(f"The log extends the older checkpoint of {older.size:,} entries.")

    def _cannot_know(self, older: str | None) -> None:
        if self.vouched.size is None:
            self.lines.append(
                "SELF-ATTESTED: no outside witness vouches for the checkpoint, only the log's own key."
            )
        else:
            self.lines.append(f"The checkpoint is {self.vouched.phrase}, under the pinned keys of witnesses.")
        self.lines.append(
            "Cannot be known from a bundle: whether the operator left out entries that would have mattered, "
            "counts over the whole log (population.whole_log rests on the operator's signature), whether what "
            "was recorded is true, and whether other copies exist."
        )
        if older is None:
            self.lines.append("No older checkpoint was given, so a rewritten log would not be noticed.")


def _verify_inclusion(entry: BundledEntry, proof: InclusionProof, checkpoint: Checkpoint) -> None:
    """As :func:`governance.log.proof.verify_entry`, of an entry that may have its leaf's hash alone."""
    if proof.size != checkpoint.size:
        raise ValueError("its proof is for a tree of another size")
    verify_inclusion(entry.index, proof.size, entry.leaf_hash, proof.hashes, checkpoint.root)


def _index(name: str) -> int:
    number = name.removeprefix(ENTRIES).removesuffix(".json")
    return int(number) if number.isascii() and number.isdecimal() and len(number) < 16 else -1
