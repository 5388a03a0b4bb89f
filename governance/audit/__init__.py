"""Reports an auditor can check without us: pure functions of the log, their bundles, their verifier.

``trail`` reads the log up to a checkpoint (``portions`` does so quickly), one module a report makes a record of it, in a
room for each law, ``rendering`` shows the record, ``bundle`` packs it with what proves it, ``checking`` checks that offline.
Verifying loads neither a template engine nor a database.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from governance.audit.checking.verification import Verdict, verify_bundle
    from governance.audit.making import MadeReport, make_report
    from governance.audit.registry import REPORTS

__all__ = ["REPORTS", "MadeReport", "Verdict", "make_report", "verify_bundle"]

_HOMES = {
    "REPORTS": "registry",
    "MadeReport": "making",
    "make_report": "making",
    "Verdict": "checking.verification",
    "verify_bundle": "checking.verification",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
