"""Dataset contracts (ODCS 3.x YAML) and the governance policy: load, check, compile, explain.

The names below load what they need on first use, so that importing the room costs nothing: a DAG
that only reads a compiled contract never loads a YAML parser or a schema validator.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from governance.contracts.checking import check, columns_match, load_contract
    from governance.contracts.compiled import as_mapping, compile_to, from_json, load_compiled, to_json
    from governance.contracts.explaining import ExplainedColumn, explain
    from governance.contracts.policies import METHODS, load_policy

__all__ = [
    "METHODS",
    "ExplainedColumn",
    "as_mapping",
    "check",
    "columns_match",
    "compile_to",
    "explain",
    "from_json",
    "load_compiled",
    "load_contract",
    "load_policy",
    "to_json",
]

_HOMES = {
    "checking": ("check", "columns_match", "load_contract"),
    "compiled": ("as_mapping", "compile_to", "from_json", "load_compiled", "to_json"),
    "explaining": ("ExplainedColumn", "explain"),
    "policies": ("METHODS", "load_policy"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
