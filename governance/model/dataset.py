"""Datasets, versions, segments and the manifest that binds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One pinned file: ``name`` relative to the source, ``size`` in bytes, ``digest`` of its bytes."""

    name: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class SourceSnapshot:
    """What a run reads, pinned when it opens. ``digest`` covers kind and files, not the location."""

    kind: str
    uri: str
    files: tuple[SourceFile, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """``path`` is relative to the dataset root. ``role`` is ``data`` or ``key_material``."""

    path: str
    size: int
    digest: str
    role: str


@dataclass(frozen=True, slots=True)
class Segment:
    """An immutable piece of a version: one partition of one load, keyed on its own.

    ``key_ids`` maps a sensitivity to the id of its segment key; ``footer`` names the footer's.
    """

    segment_id: str
    partition: Mapping[str, str]
    rows: int
    files: tuple[SegmentFile, ...]
    key_ids: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The signed statement of what a version is. ``body`` is what canonical JSON is made of."""

    dataset: str
    version: str
    segments: tuple[Segment, ...]
    body: Mapping[str, Any]
    digest: str
