"""`/api/v1/audit`: the log itself. What it holds, who could read it, and proofs that it was not altered."""

from __future__ import annotations

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from governance.errors import AccessError, LogError
from governance.log import Entry
from governance.server.answers import REFUSALS
from governance.server.asked import Auditor, Reason, leave_trace
from governance.server.served import ServedStore
from governance.server.tokens import issued_tokens

At = Annotated[int, Path(ge=0, le=2**62)]
Size = Annotated[int, Query(ge=0, le=2**62)]


def router(served: ServedStore) -> APIRouter:
    """The routes about the log. All need the scope `audit`."""
    routes = APIRouter(prefix="/api/v1/audit", tags=["audit"], responses=REFUSALS)
    log = served.log

    @routes.get("/log")
    def status(_: Auditor) -> dict[str, Any]:
        """Origin and size of the log, how much of it is signed, and the newest checkpoint as a signed note."""
        latest = log.latest()
        return {
            "origin": log.origin,
            "size": log.size(),
            "indexed": served.index.size,
            "signed": latest.size if latest else 0,
            "checkpoint": latest.note if latest else None,
        }

    @routes.get("/log/entries")
    def entries(
        _: Auditor, start: Size = 0, limit: Annotated[int, Query(ge=1, le=1_000)] = 100
    ) -> dict[str, Any]:
        """Envelopes from an index on, without bodies."""
        size = log.size()
        rows = [_envelope(entry) for entry in log.entries(start, min(size, start + limit))]
        return {"size": size, "entries": rows}

    @routes.get("/log/entries/{index}")
    def entry(index: At, _: Auditor) -> dict[str, Any]:
        """One entry's envelope, as stored and parsed, without its body."""
        return _envelope(log.entry(index))

    @routes.get(
        "/log/entries/{index}/body",
        response_class=Response,
        responses={410: {"description": "The body was redacted or pruned."}},
    )
    def body(index: At, caller: Auditor, reason: Reason = "") -> Response:
        """The body as it was received. That you read it, and why, becomes an entry of the log."""
        found = log.entry(index)
        leave_trace(served, caller, {"kind": "body", "log_index": index}, reason)
        if found.body is None:
            raise AccessError(
                "GOV-616", f"the body of entry {index} is gone", "its envelope and proofs are still there"
            )
        headers = {
            "x-content-type-options": "nosniff",
            "content-disposition": f"attachment; filename=entry-{index}",
            # With it the leaf's digest can be recomputed: SHA-256(salt ‖ body).
            "x-governance-salt": _text(found.salt or b""),
        }
        return Response(found.body, headers=headers, media_type="application/octet-stream")

    @routes.get("/log/entries/{index}/proof")
    def inclusion(index: At, _: Auditor, size: Size | None = None) -> dict[str, Any]:
        """RFC 6962 inclusion proof of an entry in the tree of ``size``; default the newest checkpoint's."""
        latest = log.latest()
        tree = size if size is not None else latest.size if latest else log.size()
        if index >= tree:
            raise LogError(
                "GOV-504", f"entry {index} is not in a tree of size {tree}", "ask for a larger size"
            )
        hashes = log.inclusion_proof(index, tree)
        return {"index": index, "size": tree, "hashes": _hashes(hashes), "leaf": _text(log.entry(index).leaf)}

    @routes.get("/log/consistency")
    def consistency(_: Auditor, first: Size, second: Size) -> dict[str, Any]:
        """RFC 6962 consistency proof between two sizes of the log."""
        if not first <= second:
            raise AccessError("GOV-613", "the first size is larger than the second", "swap them")
        proof = log.consistency_proof(first, second)
        return {"first": first, "second": second, "hashes": _hashes(proof)}

    @routes.get("/tokens")
    def tokens(_: Auditor, as_of: Size | None = None) -> dict[str, Any]:
        """Every token ever made, up to a log size: its name, rights and end. Never the token."""
        size = log.size() if as_of is None else min(as_of, log.size())
        return {"as_of": size, "tokens": issued_tokens(log, size)}

    return routes


def _envelope(entry: Entry) -> dict[str, Any]:
    envelope = entry.envelope
    return {
        "index": entry.index,
        "received_at": envelope.received_at,
        "principal": envelope.principal,
        "media_type": envelope.media_type,
        "size": envelope.size,
        "digest": envelope.digest,
        "body": entry.body is not None,
        "leaf": _text(entry.leaf),
    }


def _hashes(values: list[bytes]) -> list[str]:
    return [_text(value) for value in values]


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
