"""Titles, headings and column names in the languages that reports are read in.

A message file maps the English text, which is the one in the record, to the other language. What has no
translation stays English, as does everything that the log says. The record itself is never translated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from governance.errors import AuditError

LANGUAGES = ("en", "de", "fr", "es")
"""BCP 47."""


@dataclass(frozen=True)
class Words:
    """Says an English text in ``language``."""

    language: str
    messages: Mapping[str, str]

    def __call__(self, text: str) -> str:
        return self.messages.get(text, text)


@cache
def words(language: str) -> Words:
    """The messages of a language.

    Raises:
        AuditError: GOV-804 for one there is no file of.
    """
    if language not in LANGUAGES:
        raise AuditError(
            "GOV-804", f"there is no language {language!r}", f"choose from {', '.join(LANGUAGES)}"
        )
    return Words(language, json.loads((Path(__file__).parent / f"{language}.json").read_text("utf-8")))
