"""Media types of the log's leaves that tasks and officers write beside signed evidence."""

from __future__ import annotations

from typing import Final

REQUEST: Final = "application/vnd.governance.request+json"
"""A step of a data subject's request (:mod:`governance.model.request`)."""

TRAINED: Final = "application/vnd.governance.training+json"
"""What a model was trained on: ``model``, ``digest`` of its file, ``purpose``, ``inputs``."""

LANDING: Final = "application/vnd.governance.landing+json"
"""Rows that a task made for a governed run to take in, and which released versions they come from."""

INVENTORY: Final = "application/vnd.governance.inventory+json"
"""What lay in listed storage places, held against the log: counts, and a signature by the evidence key."""

READMITTED: Final = "application/vnd.governance.readmission+json"
"""That erased people come off the suppression list: how many, who decided and why; signed by the evidence key."""

REPLAYED: Final = "application/vnd.governance.tombstone-replay+json"
"""That a subject vault was behind the log's tombstones and was brought up to them; signed by the evidence key."""
