"""The register of places that may hold personal data: what, under which key, until when, and how it is erased.

A test runs a pass and fails on a file that no pattern here names, so that a new writer has to say what its
file means for a subject.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class How(StrEnum):
    """How a place is searched for an erased subject."""

    ROWS = "rows"
    VAULT = "vault"
    LOG = "log"
    BYTES = "bytes"
    NOT = "not searched"


@dataclass(frozen=True, slots=True)
class Residue:
    """``places`` are patterns below the home: ``*`` is any one name, ``**`` any rest.

    ``remains`` says why something about an erased subject stays there, empty where nothing does.
    """

    places: tuple[str, ...]
    holds: str
    key: str
    ends: str
    erased: str
    how: How
    remains: str = ""


_SIDE = ("", "-wal", "-shm")

RESIDUES = (
    Residue(
        ("datasets/*/segments/**",),
        "rows of released, earlier and failed versions, protected; values of reversible tokens, sealed",
        "segment keys",
        "the version's retention",
        "rewritten without the subject, old keys destroyed with their epoch, files removed",
        How.ROWS,
    ),
    Residue(
        ("datasets/*/membership/*",),
        "internal pseudonyms of the subjects of a segment, sorted",
        "a segment key of its own",
        "with the segment",
        "removed with the segment; the key dies with the segment's",
        How.NOT,
    ),
    Residue(
        ("disclosures/.*.partial/**",),
        "a disclosure on its way to a bucket, sealed to its recipient",
        "the recipient's private key, which is nowhere in the home",
        "when it has arrived; after a kill, when it is deleted",
        "none: nobody here can open it",
        How.NOT,
    ),
    Residue(
        ("disclosures/*.members",),
        "internal pseudonyms of the subjects of a disclosure, sorted",
        "a key of each disclosure",
        "six years from the disclosure: `governance subject expire`",
        "the link is destroyed",
        How.NOT,
        "to whom a subject was disclosed, by a pseudonym that leads nowhere: 45 CFR 164.528(a)(1)",
    ),
    Residue(
        ("datasets/*/quarantine/*/*.parquet", "datasets/*/quarantine/*/_KEY_MATERIAL_FOR_*"),
        "source rows that failed a rule, and rows that a task landed for a run",
        "quarantine key of the segment",
        "when replayed or discarded; landed ones with the release, or after `quarantineDays`",
        "rewritten without the subject, old keys destroyed, files removed",
        How.ROWS,
    ),
    Residue(
        ("datasets/*/staging/*/*/spark-*",),
        "for a pass on Spark: pseudonyms and decisions of the source's subjects, by a keyed mark; tokens' keys",
        "a segment key of its own",
        "with the pass; after a kill of its driver, with its next try",
        "removed with the pass; the key dies with the version's",
        How.NOT,
    ),
    Residue(
        ("datasets/*/staging/*/*/noticed/*",),
        "numbers of the source's rows whose free text holds an identifier, and of which kind; no text, no subject",
        "a segment key of its own, for the attempt",
        "with protect, the key with it; where that never runs, with the version",
        "removed with the version's staging folder",
        How.NOT,
    ),
    Residue(
        ("datasets/*/staging/**", "datasets/*/quarantine/*/reasons.json"),
        "names, counts, digests, the contract; no values",
        "none",
        "with the version",
        "searched",
        How.BYTES,
    ),
    Residue(
        ("datasets/*/versions/**", "datasets/*/root.json", "datasets/*/current.json"),
        "signed manifests and contracts; no values",
        "none",
        "with the dataset",
        "searched",
        How.BYTES,
    ),
    Residue(
        (
            *(f"vault/vault{kind}.sqlite{side}" for kind in ("", ".arriving") for side in _SIDE),
            *("vault/vault.name", "vault/vault.moving.lock"),
        ),
        "blind indexes, pseudonyms, secrets of subjects; the suppression list; in PostgreSQL where `vault.name` names them",
        "the vault's own key",
        "with the home",
        "sealed anew without the subject, the old key destroyed with its epoch",
        How.VAULT,
        "one keyed mark on the suppression list, so that the subject does not come back with the next load",
    ),
    Residue(
        ("consent/segments/*", "consent/index/*"),
        "consent records by internal pseudonym, which leads nowhere once the vault's link is destroyed",
        "none: pseudonymous",
        "statutory period",
        "the link is destroyed",
        How.NOT,
        "proof that consent was had: GDPR Art. 7(1), 17(3)(b) and (e)",
    ),
    Residue(
        ("consent/proof/*",),
        "imported consent files, identifiers in them, for who imports with `--custodian`",
        "the custodian's private key, which is nowhere in the home",
        "until claims are barred; the custodian deletes them",
        "none: nobody here can open them",
        How.NOT,
        "proof that consent was had: GDPR Art. 7(1), 17(3)(e)",
    ),
    Residue(
        (*(f"consent/ledger.sqlite{side}" for side in _SIDE), "consent/ledger.name", "consent/import.lock"),
        "digests and counts of batches",
        "none",
        "with the ledger",
        "none needed",
        How.BYTES,
    ),
    Residue(
        (*(f"store/log.sqlite{side}" for side in _SIDE), "store/**"),
        "OpenLineage events, evidence, contracts, policies, digests of consent batches; no values are meant to be there",
        "none",
        "the policy's retention of event bodies",
        "bodies that name the subject are taken out by a redaction leaf, archives written again",
        How.LOG,
        "tombstones and evidence by internal pseudonym; disclosures by count, for the accounting of 45 CFR 164.528",
    ),
    Residue(
        ("outbox/**",),
        "OpenLineage events that wait, refused ones too; no values are meant to be there",
        "none",
        "drained; dead letters tried again or deleted",
        "searched",
        How.BYTES,
    ),
    Residue(
        ("index/**",),
        "facets as the log has them",
        "none, mode 0700",
        "made anew from the log",
        "deleted when an entry was redacted",
        How.LOG,
    ),
    Residue(
        ("readings/*.portion",),
        "what reports read of the log: evidence and leaves as they stand there, names of jobs and datasets",
        "none, mode 0700",
        "made anew from the log",
        "deleted when an entry was redacted",
        How.LOG,
    ),
    Residue(
        ("reports/**",),
        "reports that were made; what is for one person says by internal pseudonym which versions hold the subject",
        "none, mode 0700",
        "as long as it must be shown that a request was answered",
        "not erased: the pseudonym leads nowhere once the vault has forgotten it",
        How.BYTES,
        "answers to the subject's own requests, under a pseudonym that leads nowhere",
    ),
    Residue(
        ("erasure/*.sealed", "erasure/erasing.lock"),
        "pseudonyms of subjects whose erasure is not finished",
        "a key of each request",
        "finished",
        "deleted; the key dies with the next epoch",
        How.NOT,
    ),
    Residue(
        (*(f"keys/keys.sqlite{side}" for side in _SIDE), "signer/*", "corrections.json", "tombstones.json"),
        "wrapped keys, checkpoints, positions in the log",
        "the key provider",
        "with the home",
        "none needed",
        How.BYTES,
    ),
    Residue(
        ("contracts/**", "policy.yaml", "witnesses.yaml", "*.pub"),
        "what people declared",
        "none",
        "with the home",
        "none needed",
        How.BYTES,
    ),
)

OUTSIDE = (
    (
        "the source",
        "plaintext",
        "yours: erase the subject there too, or the next load brings an identifier that is denied",
    ),
    (
        "disclosures",
        "protected rows under the recipient's pseudonyms",
        "the recipient erases them; `--notices` writes what to tell each",
    ),
    (
        "models and datasets derived outside",
        "what they learned or copied",
        "named in the plan by lineage; retrain or erase there",
    ),
    (
        "the vault's earlier rows in PostgreSQL: free pages, write-ahead log and its archives, replicas, dumps",
        "sealed pages",
        "noise once their epoch is destroyed; until then as long as the server keeps them",
    ),
    (
        "copies of released text with reversible tokens",
        "values that redaction took out, sealed under the secrets of the row's people",
        "nobody opens them once the vault has forgotten one of these people, and older vaults have died with their epoch",
    ),
    (
        "backups of the datasets directory",
        "sealed segments",
        "noise once their epoch is destroyed; the key provider's backups are its own",
    ),
)
"""Places that no command here reaches: place, what it holds, who ends it."""


def residue_of(relative: str) -> Residue | None:
    """What the register says of a path below the home, ``None`` if nothing does."""
    return next(
        (each for each in RESIDUES if any(_pattern(p).fullmatch(relative) for p in each.places)), None
    )


def remaining() -> list[dict[str, str]]:
    """What of an erased subject stays, by place, and why."""
    return [{"place": each.places[0], "why": each.remains} for each in RESIDUES if each.remains]


def register_page() -> str:
    """The register as a Markdown table, for the documentation."""
    rows = [
        f"| {', '.join(f'`{p}`' for p in each.places)} | {each.holds} | {each.key} | {each.ends} "
        f"| {each.erased}{'; stays: ' + each.remains if each.remains else ''} | {each.how} |"
        for each in RESIDUES
    ]
    rows += [f"| {place} | {holds} | – | – | {ends} | {How.NOT} |" for place, holds, ends in OUTSIDE]
    return "\n".join(
        ["| place | holds | key | ends | erasure | searched as |", "|---|---|---|---|---|---|", *rows]
    )


def _pattern(place: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*|\*)", place)
    return re.compile("".join({"**": ".*", "*": "[^/]*"}.get(part, re.escape(part)) for part in parts))
