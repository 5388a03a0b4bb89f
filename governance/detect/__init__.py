"""The classification engine: what columns and texts hold, and redaction of texts.

    classify_table(table) -> {column: ColumnClassification}
    TableScanner(schema).update(batch) … .finish()
    classify_text(texts) -> [[TextFinding]]
    redact(texts, known=None) -> texts with identifiers replaced by [TAG]
    taxonomy() -> {name: TaxonomyEntry}
    load_detectors("detectors.yaml") -> Detectors, with a team's own; the calls above take them as ``detectors=``
    quasi_identifiers(table, classifications) -> which column sets single people out

Parts load when first asked for: the automata and dictionaries cost a second.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from governance.detect.classifications import TaxonomyEntry, taxonomy
    from governance.detect.columns.anonymity import QuasiIdentifiers, quasi_identifiers
    from governance.detect.columns.scanner import TableScanner, classify_table
    from governance.detect.detectors.custom import load_detectors
    from governance.detect.detectors.registry import Detectors
    from governance.detect.text.engine import TextFinding, classify_text
    from governance.detect.text.redaction import redact

__all__ = [
    "Detectors",
    "QuasiIdentifiers",
    "TableScanner",
    "TaxonomyEntry",
    "TextFinding",
    "classify_table",
    "classify_text",
    "load_detectors",
    "quasi_identifiers",
    "redact",
    "taxonomy",
]

_HOME = {
    "Detectors": "detectors.registry",
    "load_detectors": "detectors.custom",
    "QuasiIdentifiers": "columns.anonymity",
    "quasi_identifiers": "columns.anonymity",
    "TableScanner": "columns.scanner",
    "classify_table": "columns.scanner",
    "redact": "text.redaction",
    "TaxonomyEntry": "classifications",
    "taxonomy": "classifications",
    "TextFinding": "text.engine",
    "classify_text": "text.engine",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
