"""What a dataset version says of itself to others' tools: an in-toto attestation and a Croissant description.

Both are pure functions of the log: the version's manifest digest, its files and its runs come from signed evidence.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from governance.audit.trail import GovernedRun, Trail
from governance.errors import AuditError
from governance.log.note import Checkpoint
from governance.model.canonical import canonical
from governance.model.evidence import Signer, Stage

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:governance:predicate:dataset-version:1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
CROISSANT = "http://mlcommons.org/croissant/1.1"

_TYPES = (
    ("int", "cr:Int64"),
    ("uint", "cr:UInt64"),
    ("double", "sc:Float"),
    ("float", "sc:Float"),
    ("bool", "sc:Boolean"),
    ("date", "sc:Date"),
    ("timestamp", "sc:DateTime"),
)


def released_run(trail: Trail, dataset: str, version: str) -> GovernedRun:
    """The run that released a version.

    Raises:
        AuditError: GOV-804 when the log has no release of it.
    """
    found = [
        run
        for run in trail.runs
        if (run.dataset, run.version) == (dataset, version) and run.release("released")
    ]
    if not found:
        raise AuditError(
            "GOV-804",
            "the log has no release of that version",
            "name a dataset and a version as `governance report make gdpr-art30` lists them",
        )
    return found[-1]


def statement(run: GovernedRun, checkpoint: Checkpoint) -> dict[str, Any]:
    """The in-toto Statement v1 of a released version; its subject's digest is the manifest's."""
    release = run.release("released")
    facts: Mapping[str, Any] = release.facts if release else {}
    algorithm, _, value = str(facts.get("manifest_digest")).partition(":")
    opened, consent, protect = run.opened.facts, _facts(run, Stage.CONSENT), _facts(run, Stage.PROTECT)
    return {
        "_type": STATEMENT,
        "subject": [{"name": f"{run.dataset}@{run.version}", "digest": {algorithm: value}}],
        "predicateType": PREDICATE,
        "predicate": {
            "dataset": run.dataset,
            "version": run.version,
            "purpose": run.purpose,
            "released_at": release.received_at if release else None,
            "rows": facts.get("rows"),
            "source": {k: (opened.get("source") or {}).get(k) for k in ("kind", "digest")},
            "contract": (opened.get("contract") or {}).get("digest"),
            "policy": (opened.get("policy") or {}).get("digest"),
            "consent": {k: consent.get(k) for k in ("position", "instant", "rows", "allowed", "denied")},
            "treatments": [
                {k: column.get(k) for k in ("column", "classification", "treatment")}
                for column in protect.get("columns") or []
            ],
            "log": {
                "origin": checkpoint.origin,
                "size": checkpoint.size,
                "root": checkpoint.root.hex(),
                "checkpoint": checkpoint.note,
                "entries": sorted(run.indexes()),
            },
        },
    }


def signed(said: Mapping[str, Any], signer: Signer) -> bytes:
    """The DSSE v1 envelope of a statement, by the evidence key; ``keyid`` is its base64."""
    payload = canonical(said)
    message = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
    return canonical(
        {
            "payloadType": PAYLOAD_TYPE,
            "payload": _text(payload),
            "signatures": [{"keyid": _text(signer.public_key), "sig": _text(signer.sign(message))}],
        }
    )


def croissant(run: GovernedRun, checkpoint: Checkpoint) -> bytes:
    """The Croissant 1.1 description (JSON-LD) of a released version: its files, columns and provenance."""
    protect, release = _facts(run, Stage.PROTECT), run.release("released")
    files = [
        f for s in protect.get("segments") or [] for f in s.get("files") or [] if f.get("role") == "data"
    ]
    released = release.received_at if release else run.opened.received_at
    distribution = [
        {
            "@type": "cr:FileObject",
            "@id": f"file-{number}",
            "name": f"file-{number}",
            "contentUrl": str(file["path"]),
            "contentSize": f"{file['size']} B",
            "encodingFormat": "application/vnd.apache.parquet",
            "sha256": str(file["digest"]).removeprefix("sha256:"),
        }
        for number, file in enumerate(files, start=1)
    ]
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"rows/{column['name']}",
            "name": str(column["name"]),
            "dataType": next(
                (kind for start, kind in _TYPES if str(column["type"]).startswith(start)), "sc:Text"
            ),
            "source": {"fileObject": {"@id": "file-1"}, "extract": {"column": str(column["name"])}},
        }
        for column in protect.get("schema") or []
    ]
    return canonical(
        {
            "@context": _CONTEXT,
            "@type": "sc:Dataset",
            "conformsTo": CROISSANT,
            "name": run.dataset,
            "version": run.version,
            "datePublished": released[:10],
            "description": f"Governed dataset for {run.purpose}. Its columns are encrypted: reading them takes a key that "
            "the data broker grants for this purpose.",
            "url": f"urn:governance:log:{checkpoint.root.hex()}:{run.dataset}:{run.version}",
            "prov:wasGeneratedBy": {"@id": f"urn:governance:run:{run.opened.context.get('run_id')}"},
            "prov:wasDerivedFrom": {"@id": f"urn:{(run.opened.facts.get('source') or {}).get('digest')}"},
            "distribution": distribution,
            "recordSet": [{"@type": "cr:RecordSet", "@id": "rows", "name": "rows", "field": fields}]
            if fields and files
            else [],
        }
    )


def _facts(run: GovernedRun, stage: Stage) -> Mapping[str, Any]:
    proof = run.stages.get(stage)
    return {} if proof is None else proof.facts


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "samplingRate": "cr:samplingRate",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
