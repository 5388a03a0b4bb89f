"""What this room asks of a storage and of a keyring; both are matched by structure."""

from __future__ import annotations

from typing import Any, Protocol


class SegmentStorage(Protocol):
    """A dataset root. Every ``relative`` path uses ``/`` and stays inside the root."""

    def filesystem(self) -> Any:
        """The ``pyarrow.fs.FileSystem`` that :meth:`path` is meant for."""

    def path(self, relative: str) -> str:
        """Where ``relative`` lies on :meth:`filesystem`."""

    def make_directory(self, relative: str) -> str:
        """Make a folder and its parents; returns its :meth:`path`."""

    def list(self, prefix: str) -> list[str]:
        """Every file below ``prefix``, as paths relative to the root."""

    def remove_tree(self, relative: str) -> None:
        """Remove a folder and all in it; absent is fine."""

    def sync(self, relative: str) -> None:
        """Make a folder and its files durable."""


class SegmentKeys(Protocol):
    """Makes and hands out the 32-byte keys of segments."""

    def new_segment_key(self, segment_id: str, sensitivity: str) -> str:
        """Create a key and return its id."""

    def segment_key(self, key_id: str) -> bytes:
        """The key's 32 bytes. Raises GOV-303 when unknown or destroyed."""
