"""The forms of a report beside the page: for people CSV, XLSX and PDF, for machines OSCAL and DPV.

Each is a pure function of the record.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeAlias

from governance.audit.languages import Words
from governance.errors import AuditError

Form: TypeAlias = Callable[[dict[str, Any], Words, bytes | None], bytes]
"""Takes the record, the language and the bundle, where one was made."""

_HOMES = {"csv": "comma_separated", "dpv": "dpv", "oscal": "oscal", "pdf": "typeset", "xlsx": "workbook"}
_ENDINGS = {"dpv": "dpv.jsonld", "oscal": "oscal.json"}
FORMS = frozenset(_HOMES)
"""Their names."""


def form(name: str) -> Form:
    """What makes that form of a record.

    Raises:
        AuditError: GOV-804 for an unknown one.
        SettingError: GOV-902 when the library it needs is not installed.
    """
    if name not in _HOMES:
        raise AuditError("GOV-804", f"there is no form {name!r}", f"choose from {', '.join(sorted(FORMS))}")
    made: Form = import_module(f"{__name__}.{_HOMES[name]}").render
    return made


def ending(name: str) -> str:
    """What a file of that form ends with."""
    return _ENDINGS.get(name, name)
