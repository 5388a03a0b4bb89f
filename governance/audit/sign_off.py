"""Sign-off: a person's signed word on one report, a record of its own beside the report.

The statement (in-toto Statement v1 in a DSSE envelope, by the evidence key) names the digest of the canonical record,
who reviewed it, when, the decision, findings and follow-up. That it was made is evidence in the log, which holds the
statement's digest and none of its words: findings may be about people, and what is in the log stays there. A nonce in the
statement keeps its words from being guessed by their digest.
"""

from __future__ import annotations

import base64
import json
import secrets
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from governance.audit.making import ReportSource, make_report
from governance.audit.reading import read_record
from governance.audit.versions import PAYLOAD_TYPE, STATEMENT, signed
from governance.durable import replace_file
from governance.errors import AuditError
from governance.lineage.recorder import OpenLineageRecorder
from governance.log.note import VerifierKey
from governance.log.rotation import follow, handovers
from governance.model.canonical import canonical, digest, parse, timestamp
from governance.model.evidence import Evidence, Stage, StageRecord

FORMAT = "governance-sign-off/1"
PREDICATE = "urn:governance:predicate:report-sign-off:1"
DECISIONS = ("accepted", "follow-up", "rejected")

_MOST = 20_000


class Clocked(ReportSource, Protocol):
    """A workspace with its clock."""

    def clock(self) -> datetime:
        """Now, aware."""


@dataclass(frozen=True, slots=True)
class SignedOff:
    """``path`` is the file that was written, ``facts`` what the log has of it at ``log_index``."""

    path: Path
    facts: dict[str, Any]
    log_index: int


def sign_off(
    source: Clocked,
    report: Path,
    out_dir: Path,
    *,
    reviewer: str,
    findings: str,
    follow_up: str = "",
    decision: str | None = None,
    namespace: str,
    producer: str,
) -> SignedOff:
    """Sign off a report: its record, or its bundle. The report is made again first and must be what the log gives.

    Args:
        reviewer: stands in the log, one line.
        findings: stands in the file alone, like ``follow_up``.
        decision: of :data:`DECISIONS`; by default ``follow-up`` where one is stated, else ``accepted``.

    Raises:
        AuditError: GOV-801 for a file that is no report, GOV-802 for one that the log does not give, GOV-804 for an
            unusable reviewer, decision or text. LogError: GOV-50x when it cannot be recorded: nothing is written then.
    """
    chosen = decision or ("follow-up" if follow_up.strip() else "accepted")
    _require_words(reviewer, findings, follow_up, chosen)
    record = read_record(report)
    _require_given(source, record)
    reviewed_at = timestamp(source.clock())
    said = _statement(
        record,
        {
            "reviewer": reviewer.strip(),
            "reviewed_at": reviewed_at,
            "decision": chosen,
            "findings": findings.strip(),
            "follow_up": follow_up.strip() or None,
            "nonce": secrets.token_hex(16),
        },
    )
    envelope = signed(said, source.keyring.evidence_signer)
    facts = facts_of(said)
    run = str(uuid.uuid4())
    recorder = OpenLineageRecorder(
        source.log,
        producer=producer,
        namespace=namespace,
        job=lambda _: f"report.{record['report']['kind']}.sign_off",
        run_id=lambda _: run,
        lifecycle=True,
        clock=source.clock,
    )
    stated = StageRecord(Evidence(Stage.SIGN_OFF, facts), {})
    index = recorder.record(stated, source.keyring.evidence_signer)
    recorder.completed(Stage.SIGN_OFF, {}, stated)
    out_dir.mkdir(parents=True, exist_ok=True)
    path = out_dir / f"{record['report']['kind']}.sign-off-{index}.json"
    replace_file(path, _proved(source, envelope, index), mode=0o666)
    return SignedOff(path, facts, index)


def record_digest(record: Mapping[str, Any]) -> str:
    """The digest that a sign-off is of: of the record's canonical form (RFC 8785)."""
    return digest(canonical(dict(record)))


def facts_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """What the log holds of a statement: none of the reviewer's words, but the digest of all of them."""
    about = said["predicate"]
    report = about["report"]
    return {
        "report": {name: report[name] for name in ("kind", "template_version", "digest")},
        "period": dict(about["period"]),
        "as_of": dict(about["as_of"]),
        **{name: about[name] for name in ("exceptions", "unknowns", "reviewer", "reviewed_at", "decision")},
        "statement": digest(canonical(dict(said))),
    }


def read_sign_off(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A sign-off file and the statement in it. They are read, not verified.

    Raises:
        AuditError: GOV-801 when it is none.
    """
    try:
        data = path.read_bytes()
        file = parse(data) if len(data) < 1 << 24 else None
        if not isinstance(file, dict) or file.get("format") != FORMAT or canonical(file) != data:
            raise ValueError
        said = parse(base64.b64decode(file["dsse"]["payload"], validate=True))
        if said["_type"] != STATEMENT or said["predicateType"] != PREDICATE:
            raise ValueError
        facts_of(said)
    except OSError as error:
        raise AuditError("GOV-801", f"{path.name} cannot be read: {error.strerror}", _REMEDY) from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise AuditError("GOV-801", f"{path.name} is no sign-off of a report", _REMEDY) from None
    return file, said


def beside(report: Path, record: Mapping[str, Any]) -> list[tuple[Path, dict[str, Any]]]:
    """The sign-offs of a record that lie in the directory of its report, with what they say; none is verified."""
    wanted, found = record_digest(record), []
    for path in sorted(report.parent.glob("*.sign-off-*.json")):
        try:
            _, said = read_sign_off(path)
        except AuditError:
            continue
        if said["predicate"]["report"]["digest"] == wanted:
            found.append((path, dict(said["predicate"])))
    return found


_REMEDY = "name the file that `governance report sign-off` wrote"


def _require_words(reviewer: str, findings: str, follow_up: str, decision: str) -> None:
    if not reviewer.strip() or not reviewer.isprintable() or len(reviewer) > 200:
        raise AuditError(
            "GOV-804", "a sign-off names who reviewed, in one line", "give --reviewer: a name or a user name"
        )
    if decision not in DECISIONS:
        raise AuditError("GOV-804", "that is no decision", f"use one of {', '.join(DECISIONS)}")
    for text in (findings, follow_up):
        if len(text) > _MOST or not all(c.isprintable() or c in "\n\t" for c in text):
            raise AuditError(
                "GOV-804", "findings or follow-up are no plain text", f"write at most {_MOST:,} characters"
            )
    if not findings.strip():
        raise AuditError(
            "GOV-804", "a sign-off states what was found", "give --findings, also where nothing was"
        )
    if decision == "follow-up" and not follow_up.strip():
        raise AuditError("GOV-804", "a follow-up is decided and not stated", "give --follow-up")


def _require_given(source: ReportSource, record: Mapping[str, Any]) -> None:
    """Make the report again: a reviewer signs what the log gives, not what a file says."""
    period, audience = record["period"], record.get("audience") or {}
    narrowed = {"audience": audience["name"]} if audience else {}
    with tempfile.TemporaryDirectory(prefix="sign-off-") as folder:
        made = make_report(
            source,
            record["report"]["kind"],
            Path(folder),
            as_of=record["as_of"]["size"],
            period=(period["from"][:10], period["to"][:10]) if period["asked"] is True else None,
            asked=record.get("asked"),
            **narrowed,
        ).record
    if canonical(_without_version(made)) != canonical(_without_version(record)):
        raise AuditError(
            "GOV-802",
            "the log does not give this report: it was altered, or it is of another log",
            "make the report again and review that one",
        )


def _without_version(record: Mapping[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(canonical(dict(record)))
    said["report"]["generator"].pop("version", None)
    return said


def _statement(record: Mapping[str, Any], reviewed: Mapping[str, Any]) -> dict[str, Any]:
    report, period, of = record["report"], record["period"], record["as_of"]
    made = record_digest(record)
    name = f"{report['kind']}@{of['size']}"
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": made.removeprefix("sha256:")}}],
        "predicateType": PREDICATE,
        "predicate": {
            "report": {
                **{k: report[k] for k in ("kind", "title", "law", "template_version")},
                "digest": made,
            },
            "period": {k: period[k] for k in ("from", "to")},
            "as_of": {k: of[k] for k in ("origin", "size", "root")},
            "exceptions": len(record["exceptions"]),
            "unknowns": len(record["unknowns"]),
            **reviewed,
        },
    }


def _proved(source: ReportSource, envelope: bytes, index: int) -> bytes:
    """The file: the envelope with what proves, offline, that it is in the log and by whose key."""
    log, checkpoint = source.log, source.log.checkpoint()
    key = VerifierKey.parse(source.vkey)
    held = sorted(handovers(log.storage), key=lambda handover: handover.proof.size)
    terms = follow(key, held)
    by = [term.key for term in terms if term.first <= checkpoint.size][-1]
    sizes = sorted({handover.proof.size for handover in held if handover.proof.size < checkpoint.size})
    entries = [log.entry(0), log.entry(index)]
    return canonical(
        {
            "format": FORMAT,
            "dsse": json.loads(envelope),
            "checkpoint": checkpoint.note,
            "key": str(by),
            "rotations": [handover.to_json() for handover in held],
            "consistency": [
                {"size": size, "hashes": [_text(h) for h in log.consistency_proof(size, checkpoint.size)]}
                for size in sizes
            ],
            "entries": [
                {
                    "index": entry.index,
                    "leaf": _text(entry.leaf),
                    "body": _text(entry.body or b""),
                    "salt": _text(entry.salt or b""),
                }
                for entry in entries
            ],
            "proofs": [log.prove(entry.index, checkpoint).to_json() for entry in entries],
        }
    )


def pre_authentication(payload: bytes) -> bytes:
    """DSSE v1 PAE of a statement: ``DSSEv1`` SP LEN(type) SP type SP LEN(body) SP body."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
