"""Where versions live: one file a scheme, chosen by the URI."""

from __future__ import annotations

from governance.storage.base import Storage
from governance.storage.registry import register, schemes, storage_for

__all__ = ["Storage", "register", "schemes", "storage_for"]
