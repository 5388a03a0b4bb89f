"""Reads experts' determinations from the policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from governance.contracts.anonymity import is_day
from governance.contracts.reading import text, texts
from governance.model.deidentification import Determination


def determination(name: str, said: Mapping[str, Any], folder: Path) -> Determination:
    """The compiled form of an entry that has no faults; its document lies below ``folder``."""
    path, _, digest = said["document"].partition("@")
    return Determination(
        name=name,
        expert=said["expert"],
        method=said["method"],
        decided=said["decided"],
        expires=said["expires"],
        risk=said["risk"],
        document=str(folder / path),
        digest=digest,
        datasets=tuple(texts(said, "datasets")),
    )


def determination_faults(said: Any) -> Iterator[tuple[str, str]]:
    """What a schema cannot see: pairs of the property and what is wrong with it."""
    days = {key: text(said, key) for key in ("decided", "expires")}
    for key, day in days.items():
        if day is not None and not is_day(day):
            yield key, f"`{day}` is no day; write it as `2026-01-31`"
    decided, expires = days["decided"], days["expires"]
    if decided and expires and is_day(decided) and is_day(expires) and expires <= decided:
        yield "expires", "it expires before it was decided; write a later day"
    path = (text(said, "document") or "").partition("@")[0]
    if Path(path).is_absolute() or ".." in Path(path).parts or "\0" in path:
        yield (
            "document",
            "the document lies beside the policy or below it; write a relative path without `..`",
        )
