"""What token leaves say: which tokens there are, and which were revoked. A token itself is nowhere."""

from __future__ import annotations

import json
from typing import Any

from governance.lineage.reading import instant_of, mapping, text
from governance.model.principal import scope_of

_REVOCATION = "application/vnd.governance.token-revocation+json"
TOKEN_MEDIA_TYPES = frozenset({"application/vnd.governance.token+json", _REVOCATION})


def token_row(body: bytes, media_type: str, principal: str) -> tuple[Any, ...] | None:
    """Whether it revokes, token id, digest, name, scopes, namespaces and expiry.

    ``None`` when it does not come from an administrator or is not of the format: such a token does not
    exist. ``namespaces`` is ``None`` where the token is for all of them.
    """
    if scope_of(principal) != "admin":
        return None
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    token = text(mapping(said).get("id"))
    if token is None or said.get("v") != 1:
        return None
    if media_type == _REVOCATION:
        return (True, token, None, None, None, None, None)
    digest, scopes = text(said.get("digest")), _strings(said.get("scopes"))
    namespaces, expires = said.get("namespaces"), instant_of(said.get("expires_at"))
    well_formed = (
        digest is not None
        and scopes is not None
        and (namespaces is None or _strings(namespaces) is not None)
        and (expires is None) == (said.get("expires_at") is None)
    )
    until = expires and expires.replace(tzinfo=None)
    return (False, token, digest, text(said.get("name")), scopes, namespaces, until) if well_formed else None


def _strings(value: Any) -> list[str] | None:
    return value if isinstance(value, list) and all(isinstance(item, str) for item in value) else None
