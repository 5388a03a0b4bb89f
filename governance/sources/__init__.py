"""What runs read: one file a kind; pinned when a run opens, verified at each read, streamed as Arrow."""

from __future__ import annotations

from governance.sources.parts import Part, split
from governance.sources.pinning import pin
from governance.sources.reading import read, schema
from governance.sources.registry import kinds, register

__all__ = ["Part", "kinds", "pin", "read", "register", "schema", "split"]
