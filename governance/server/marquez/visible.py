"""What a token with namespaces may see: as an SQL condition, and left out of what was sent.

Who may not see a namespace learns no name from it: neither as an entity nor as a neighbour of one.
"""

from __future__ import annotations

import json
from typing import Any

from governance.server.tokens import Caller


def visible(caller: Caller, column: str) -> str:
    """An SQL condition: the namespace in ``column`` is one that the caller sees.

    Args:
        caller: who asks.
        column: an SQL expression of this package, never a caller's text.
    """
    if caller.namespaces is None:
        return "true"
    tests = [
        f"starts_with({column}, $seen_{i})" if pattern.endswith("*") else f"{column} = $seen_{i}"
        for i, pattern in enumerate(caller.namespaces)
    ]
    return f"({' OR '.join(tests) or 'false'})"


def visible_bound(caller: Caller) -> dict[str, str]:
    """The parameters of every condition that :func:`visible` makes for the caller."""
    return {f"seen_{i}": pattern.removesuffix("*") for i, pattern in enumerate(caller.namespaces or ())}


def parsed(caller: Caller, body: str | bytes) -> Any:
    """JSON as it was sent, without the objects that name a namespace the caller does not see."""
    if caller.namespaces is None:
        return json.loads(body)
    value = json.loads(body, object_hook=lambda found: _kept(caller, found))
    return None if value is _HIDDEN else _listed(value)


class _Hidden:
    """Stands for an object until its parent leaves it out."""


_HIDDEN = _Hidden()


def _kept(caller: Caller, found: dict[str, Any]) -> Any:
    namespace = found.get("namespace")
    if isinstance(namespace, str) and not caller.sees(namespace):
        return _HIDDEN
    return {key: _listed(value) for key, value in found.items() if value is not _HIDDEN}


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value if item is not _HIDDEN] if isinstance(value, list) else value
