"""OSCAL 1.2 assessment-results (NIST): each exception and unknown an observation, each exception a finding too.

Identifiers are name-based (RFC 9562, version 5), so the same record is the same bytes.
"""

from __future__ import annotations

import re
import uuid
from typing import Any

from governance.audit.languages import Words
from governance.model.canonical import canonical

VERSION = "1.2.0"
_SPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:governance:oscal")
_NEVER = "1970-01-01T00:00:00Z"


def render(record: dict[str, Any], said: Words, bundle: bytes | None) -> bytes:
    """The document, canonical JSON. OSCAL's texts are the record's, in English."""
    del said, bundle
    of, report = record["as_of"], record["report"]
    seed = f"{report['kind']} {of['origin']} {of['size']} {of['root']}"
    last = of["last_entry_received"] or _NEVER
    observations = [
        _observation(seed, which, number, remark, last)
        for which in ("exceptions", "unknowns")
        for number, remark in enumerate(record[which], start=1)
    ]
    findings = [
        _finding(seed, number, remark, observations[number - 1]["uuid"])
        for number, remark in enumerate(record["exceptions"], start=1)
    ]
    result: dict[str, Any] = {
        "uuid": _id(seed, "result"),
        "title": report["title"],
        "description": " ".join([str(record["scope"].get("contains") or ""), *record["statements"]]).strip(),
        "start": record["period"]["from"] or _NEVER,
        "end": record["period"]["to"] or last,
        "props": [
            {"name": name, "ns": "urn:governance:oscal", "value": str(value)}
            for name, value in (
                ("log-origin", of["origin"]),
                ("log-size", of["size"]),
                ("log-root", of["root"]),
                ("attestation", record["verdict"]["attestation"]),
                *((f"cells-{basis}", count) for basis, count in sorted(record["verdict"]["cells"].items())),
            )
        ],
        "reviewed-controls": {"control-selections": [{"description": report["law"], "include-all": {}}]},
    }
    result |= {
        name: found for name, found in (("observations", observations), ("findings", findings)) if found
    }
    plan = _id(seed, "plan")
    return canonical(
        {
            "assessment-results": {
                "uuid": _id(seed, "document"),
                "metadata": {
                    "title": report["title"],
                    "last-modified": last,
                    "version": f"{of['size']}",
                    "oscal-version": VERSION,
                },
                "import-ap": {"href": f"#{plan}"},
                "results": [result],
                "back-matter": {
                    "resources": [
                        {
                            "uuid": plan,
                            "title": f"{report['kind']}, template {report['template_version']}",
                            "description": "What is assessed: the rules of this kind of report, applied to every entry "
                            "of the log up to the checkpoint.",
                        }
                    ]
                },
            }
        }
    )


def _observation(
    seed: str, which: str, number: int, remark: dict[str, Any], collected: str
) -> dict[str, Any]:
    made: dict[str, Any] = {
        "uuid": _id(seed, f"{which} {number}"),
        "title": remark["code"],
        "description": remark["text"],
        "props": [
            {"name": "basis", "ns": "urn:governance:oscal", "value": remark["basis"]},
            {"name": "count", "ns": "urn:governance:oscal", "value": str(remark["count"])},
        ],
        "methods": ["EXAMINE"],
        "types": ["finding" if which == "exceptions" else "unknown"],
        "collected": collected,
    }
    if remark["cites"]:
        made["relevant-evidence"] = [
            {"href": f"entries/{index}.json", "description": f"Log entry {index}"}
            for index in remark["cites"]
        ]
    return made


def _finding(seed: str, number: int, remark: dict[str, Any], observed: str) -> dict[str, Any]:
    return {
        "uuid": _id(seed, f"finding {number}"),
        "title": remark["code"],
        "description": remark["text"],
        "target": {
            "type": "objective-id",
            "target-id": re.sub(r"[^A-Za-z0-9._-]", "-", f"x-{remark['code']}"),
            "status": {"state": "not-satisfied"},
        },
        "related-observations": [{"observation-uuid": observed}],
    }


def _id(seed: str, what: str) -> str:
    return str(uuid.uuid5(_SPACE, f"{seed} {what}"))
