"""Storages by URI scheme. A new one costs its module and one line here."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module

from governance.errors import StorageError
from governance.storage.base import Storage

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")

_FACTORIES: dict[str, str | Callable[[str], Storage]] = {
    "file": "governance.storage.file:open_file_storage",
    "s3": "governance.storage.s3:open_s3_storage",
}


def register(scheme: str, factory: str | Callable[[str], Storage]) -> None:
    """Add a scheme. ``factory`` takes the URI; as ``module:name`` it is imported at first use."""
    _FACTORIES[scheme.lower()] = factory


def schemes() -> tuple[str, ...]:
    """The schemes that exist, sorted."""
    return tuple(sorted(_FACTORIES))


def storage_for(uri: str) -> Storage:
    """The storage at ``uri``: ``file:…``, ``s3://…`` or a bare path. Creates nothing.

    Raises :class:`StorageError` GOV-724 for a scheme that does not exist or a URI it cannot use.
    """
    match = _SCHEME.match(uri)
    scheme = match.group(1).lower() if match else "file"
    factory = _FACTORIES.get(scheme)
    if factory is None:
        raise StorageError(
            "GOV-724",
            f"there is no storage for {scheme}: URIs; there is {', '.join(f'{s}:' for s in schemes())}",
            "use one of these schemes, or a bare path (./NAME if it holds a colon)",
        )
    if isinstance(factory, str):
        module, _, name = factory.partition(":")
        factory = getattr(import_module(module), name)
    return factory(uri)
