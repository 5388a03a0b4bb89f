"""Rotation of the key epoch, recorded in the log."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from governance.pipeline.workspace import Workspace

KEYS = "application/vnd.governance.keys+json"
"""The log's media type of what was done with keys."""


def rotate_keys(workspace: Workspace) -> dict[str, Any]:
    """Re-wrap every key under a new epoch and destroy the old epoch's key.

    Returns:
        ``epoch``, the new one, ``epochs`` that were destroyed, whether the provider ``confirmed`` it, and what
        is ``pending`` in words.

    Raises:
        ProtectionError: GOV-30x of the key provider; GOV-310 where a broker keeps the keys. LogError: GOV-50x.
    """
    rotation = workspace.keyring.rotate_epoch()
    done = {"epoch": rotation.epoch, **asdict(rotation.destruction)}
    workspace.append_json({"action": "rotated", **done}, KEYS)
    return done
