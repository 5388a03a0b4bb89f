"""Who speaks, and with which right: the principal of every leaf and the scopes of every token.

A principal is ``scope:name``: the right under which it spoke, and who it was. The scope stands under the
leaf's hash, so an ingest token's events can never later be taken for the pipeline's evidence.
"""

from __future__ import annotations

import re
from typing import Literal, get_args

Scope = Literal["ingest", "evidence", "read", "audit", "rights", "admin", "keys"]

SCOPES: frozenset[str] = frozenset(get_args(Scope))
"""``ingest`` declares lineage, ``evidence`` observes, ``read`` asks for lineage, ``audit`` reads bodies and
proofs, ``rights`` acts for data subjects, ``admin`` makes tokens, keys and retention decisions, ``keys`` asks
the key broker."""

_PRINCIPAL = re.compile(r"([a-z]+):[!-~]([ -~]{0,198}[!-~])?")


def is_principal(text: str) -> bool:
    """Whether ``text`` is ``scope:name``: a known scope, then 1 to 200 printable ASCII characters."""
    matched = _PRINCIPAL.fullmatch(text)
    return matched is not None and matched[1] in SCOPES


def scope_of(principal: str) -> str:
    """The scope of a principal, empty when it has none."""
    scope, colon, _ = principal.partition(":")
    return scope if colon and scope in SCOPES else ""
