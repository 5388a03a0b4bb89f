"""The verifier's reading of sign-offs. Bundles carry it after ``checking``."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from governance.audit.standalone.checking import (
    Bundle,
)
from governance.audit.standalone.proving import (
    b64,
    canonical,
    fail,
    need,
    parsed,
    signed_by,
)

SIGN_OFF_FORMAT = "governance-sign-off/1"
STATEMENT_TYPE = b"application/vnd.in-toto+json"
STATED = ("exceptions", "unknowns", "reviewer", "reviewed_at", "decision")


class SignOff(Bundle):
    """A sign-off file: like a bundle of two entries, the log's first and its own."""

    def _read(self, path: str) -> dict[str, bytes]:
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            fail(path, f"cannot be read ({error})")
        return self._at(path, self._members, data)  # type: ignore[no-any-return]

    def _members(self, data: bytes) -> dict[str, bytes]:
        file = parsed(data)
        need(file["format"] == SIGN_OFF_FORMAT, "format", "is not that of a sign-off")
        self.envelope = file["dsse"]
        proofs = {"inclusion": file["proofs"], "consistency": file["consistency"]}
        entries = {f"entries/{said['index']}.json": canonical(said) for said in file["entries"]}
        need(
            len(entries) == 2 and "entries/0.json" in entries,
            "entries",
            "are not the first and the sign-off's",
        )
        return {
            "checkpoint.txt": file["checkpoint"].encode(),
            "key.txt": file["key"].encode(),
            "rotations.json": canonical(file["rotations"]),
            "proofs.json": canonical(proofs),
            **entries,
        }

    def check_of(self, record: bytes | None, key: str | None, witnesses: list[str], needed: int) -> None:
        """Check it, and that it is of a record where there is one."""
        _, _, root_key = self._log(key, witnesses, needed)
        self._evidence(root_key)
        index = max(self.entries)
        need(
            self.evidence.get(index) == "sign_off",
            f"entries/{index}.json",
            "is no signed evidence of a sign-off",
        )
        about = self._at("dsse", self._statement, root_key, index)
        made = None if record is None else "sha256:" + hashlib.sha256(canonical(parsed(record))).hexdigest()
        need(
            made in (None, about["report"]["digest"]), "record.json", "is not the record that was signed off"
        )
        self.lines += [
            f"{about['report']['title']}: signed off by {about['reviewer']} on {about['reviewed_at'][:10]},"
            f" {about['decision']}; entry {index:,}.",
            f"No report was given; it is of the record {about['report']['digest']}."
            if made is None
            else "The report given is the one that was signed off.",
            "Who the reviewer is, and that the report was read, rests on the operator's word.",
        ]

    def _statement(self, root_key: bytes, index: int) -> dict[str, Any]:
        payload, [signature] = b64(self.envelope["payload"]), self.envelope["signatures"]
        need(self.envelope["payloadType"].encode() == STATEMENT_TYPE, "dsse", "is of another type")
        message = b"DSSEv1 %d %s %d %s" % (len(STATEMENT_TYPE), STATEMENT_TYPE, len(payload), payload)
        if b64(signature["keyid"]) != root_key or not signed_by(root_key, b64(signature["sig"]), message):
            raise ValueError("is not signed by the evidence key that the log's first entry names")
        said = parsed(payload)
        about: dict[str, Any] = said["predicate"]
        facts = {
            "report": {name: about["report"][name] for name in ("kind", "template_version", "digest")},
            "period": about["period"],
            "as_of": about["as_of"],
            **{name: about[name] for name in STATED},
            "statement": "sha256:" + hashlib.sha256(payload).hexdigest(),
        }
        event = parsed(self.entries[index][2] or b"", exact=False)
        logged = event["run"]["facets"]["governance_sign_off"]["facts"]
        if canonical(given(facts)) != canonical(logged):
            raise ValueError("is not the statement that the log has the digest of")
        return about


def given(value: Any) -> Any:
    """Without members that have no value: events leave them out."""
    if isinstance(value, dict):
        return {key: given(member) for key, member in value.items() if member is not None}
    return value
