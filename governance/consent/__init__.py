"""The consent ledger, bitemporal, and the row decision that stands on it.

Valid time says when a consent, objection or restriction holds; recorded time is the position of the
batch that brought it. ``docs/consent.md`` states the semantics, with the SQL an auditor recounts by.
"""

from governance.consent.explain import Explanation, RecordLine
from governance.consent.heads import Batch
from governance.consent.jurisdiction import UNKNOWN, regimes
from governance.consent.ledger import ConsentLedger
from governance.consent.receipts import CoveredVersion, receipt
from governance.consent.snapshot import ConsentSnapshot

__all__ = [
    "UNKNOWN",
    "Batch",
    "ConsentLedger",
    "ConsentSnapshot",
    "CoveredVersion",
    "Explanation",
    "RecordLine",
    "receipt",
    "regimes",
]
