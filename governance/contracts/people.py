"""The further people that a contract's rows are about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from governance.contracts.documents import Pointer
from governance.contracts.reading import entries, mapping, text
from governance.model.contract import Engine

NO_SUBJECT: Final = "GOV-105"
_NOT_WITH_THEM: Final = "GOV-102"


def further_people(
    said: Mapping[str, Any], at: Pointer, say: Callable[..., None]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The source columns of ``subject.others`` and their domains; with them, what takes a row to be about one person is refused.

    Args:
        said: the governance extension, at ``at``.
        say: told of each fault: place, message, code.
    """
    subject = mapping(said, "subject")
    own = text(subject, "domain") or ""
    people = [
        (name, own) if isinstance(name, str) else (text(name, "column") or "", text(name, "domain") or own)
        for name in entries(subject, "others")
    ]
    others = [name for name, _ in people]
    for index, name in enumerate(others):
        if name == text(subject, "column"):
            place = (*at, "subject", "others", index)
            say(place, f"`{name}` is the subject column already; remove it", NO_SUBJECT)
        elif name in others[:index]:
            say((*at, "subject", "others", index), f"`{name}` is named twice; remove one", NO_SUBJECT)
    if others and "anonymity" in said:
        remedy = "`anonymity` counts a row as one person's; remove it, or `others`"
        say((*at, "anonymity"), remedy, _NOT_WITH_THEM, key=True)
    if others and text(said, "engine") == Engine.SPARK:
        remedy = "Spark does not decide rows about several people; write `engine: local`, or `auto`"
        say((*at, "engine"), remedy, _NOT_WITH_THEM)
    domains = tuple(domain for _, domain in people)
    return tuple(others), domains if set(domains) - {own} else ()
