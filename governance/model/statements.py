"""Media types of the log's leaves that tasks and officers write beside signed evidence."""

from __future__ import annotations

from typing import Final

REQUEST: Final = "application/vnd.governance.request+json"
"""A step of a data subject's request (:mod:`governance.model.request`)."""

TRAINED: Final = "application/vnd.governance.training+json"
"""What a model was trained on: ``model``, ``digest`` of its file, ``purpose``, ``inputs``."""

LANDING: Final = "application/vnd.governance.landing+json"
"""Rows that a task made for a governed run to take in, and which released versions they come from."""
