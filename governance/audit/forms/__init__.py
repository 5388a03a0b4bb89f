"""The forms of a report beside the page: CSV, XLSX and PDF, each a pure function of the record."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeAlias

from governance.audit.languages import Words
from governance.errors import AuditError

Form: TypeAlias = Callable[[dict[str, Any], Words, bytes | None], bytes]
"""Takes the record, the language and the bundle, where one was made."""

_HOMES = {"csv": "comma_separated", "pdf": "typeset", "xlsx": "workbook"}
FORMS = frozenset(_HOMES)
"""Their names, which are also the files' endings."""


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
