"""Kinds of sources by name and by file name. A new one costs its module and one line here."""

from __future__ import annotations

from importlib import import_module

from governance.errors import SourceError
from governance.sources.base import SourceKind

_KINDS: dict[str, str | SourceKind] = {
    "parquet": "governance.sources.parquet:Parquet",
    "csv": "governance.sources.csv:Csv",
    "jsonl": "governance.sources.jsonl:JsonLines",
}


def register(name: str, kind: str | SourceKind) -> None:
    """Add a kind; as ``module:class`` it is imported and made at first use."""
    _KINDS[name] = kind


def kinds() -> tuple[str, ...]:
    """The kinds that exist, sorted."""
    return tuple(sorted(_KINDS))


def kind_named(name: str) -> SourceKind:
    """The kind ``name``. Raises :class:`SourceError` GOV-706 if there is none."""
    kind = _KINDS.get(name)
    if kind is None:
        raise _unknown(f"there is no kind of source {name!r}")
    if isinstance(kind, str):
        module, _, factory = kind.partition(":")
        loaded: SourceKind = getattr(import_module(module), factory)()
        _KINDS[name] = kind = loaded
    return kind


def kind_of(file: str) -> str:
    """The kind that ``file``'s name ends in. Raises :class:`SourceError` GOV-706 if it is none."""
    for name in kinds():
        if file.lower().endswith(kind_named(name).suffixes):
            return name
    raise _unknown(f"{file}: its name does not end as that of a source does")


def _unknown(what: str) -> SourceError:
    endings = ", ".join(f"{name} ({' '.join(kind_named(name).suffixes)})" for name in kinds())
    return SourceError(
        "GOV-706",
        what,
        f"name the kind or use an ending of: {endings}; "
        "in a directory, files whose names begin with '_' or '.' are left out",
    )
