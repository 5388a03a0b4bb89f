"""The labels of the open tables in the terms of this project, and what a review of them changed.

The set (tsegall/semantic-types) labels 17 types. A column it calls *not sensitive* may still be a date, a note, a
licence plate or an NPI to the taxonomy, and some of these columns are plain omissions: e-mail addresses, telephone
numbers, dates of birth and coordinates. Every such column that a detector named was looked at once, by its header and
the share of values that agree. ``reviewed_columns.json`` says what it is learned as; an empty list leaves it out.
Scores are always given against the labels as they came, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from governance.detect.columns.features import US_STATE
from governance.model.classification import HARMLESS

TYPES: Mapping[str, str] = {
    "given_name": "PERSON", "family_name": "PERSON", "person_name": "PERSON", US_STATE: "STATE", "jurisdiction": "STATE",
 "city": "CITY", "street_address": "ADDRESS", "postal_code": "POSTAL_CODE", "phone": "PHONE",
    "email": "EMAIL", "url": "URL", "geo_coordinates": "GEO", "gender": "GENDER", "organization": "ORGANIZATION",
    "ethnicity": "RACE", "job_title": "JOB_TITLE", "country": "COUNTRY", "age": "AGE", "language": "LANGUAGE",
    "vehicle_id": "VIN",
}  # fmt: skip
"""The model's names and the type of the set each stands for."""


@dataclass(frozen=True)
class LabelledColumn:
    """``label`` as the set has it, ``None`` for not sensitive; ``learned``: the names it may have, empty to leave it out."""

    table: str
    column: str
    label: str | None
    learned: frozenset[str]

    @property
    def host(self) -> str:
        """The site the table was published on."""
        return self.table.split("__")[1]

    @property
    def reviewed(self) -> str | None:
        """The label after the review: a type, ``None`` for harmless, ``"SKIP"`` where it is doubtful."""
        if not self.learned:
            return "SKIP" if self.label is None else self.label
        types = {TYPES.get(name) for name in self.learned}
        return types.pop() if len(types) == 1 else self.label


class Labels:
    """``labels.json`` and ``labels_fine.json`` of a folder."""

    def __init__(self, folder: Path) -> None:
        self._coarse: dict[str, dict[str, str | None]] = json.loads(
            (folder / "labels.json").read_text("utf-8")
        )
        self._fine: dict[str, dict[str, str]] = json.loads((folder / "labels_fine.json").read_text("utf-8"))
        review = files(__package__).joinpath("reviewed_columns.json").read_text("utf-8")
        self._review: dict[str, dict[str, list[str]]] = json.loads(review)
        self.tables = sorted(self._coarse)

    def of(self, table: str, column: str) -> LabelledColumn | None:
        """A column's label; ``None`` where the set leaves it out."""
        label = self._coarse[table].get(column, "SKIP")
        if label == "SKIP":
            return None
        if label is None:
            learned = frozenset(self._review.get(table, {}).get(column, [HARMLESS]))
        else:
            learned = _learned(label, self._fine[table].get(column) or "")
        return LabelledColumn(table, column, label, learned)


def _learned(label: str, fine: str) -> frozenset[str]:
    if label == "STATE":
        if "COUNTY" in fine or "MUNICIPALITY" in fine:
            # Smaller than a state: 164.514(b)(2)(i)(B) counts it with the cities.
            return frozenset({"city"})
        if "STATE_US" in fine or "STATE_NAME_US" in fine:
            return frozenset({US_STATE})
        return frozenset({"jurisdiction"} if "DEPARTMENT" in fine else {US_STATE, "jurisdiction"})
    if label == "PERSON":
        if "FIRST_LAST" in fine or "LAST_FIRST" in fine:
            return frozenset({"person_name"})
        if "FIRST" in fine or "MIDDLE" in fine:
            return frozenset({"given_name"})
        return frozenset({"family_name"} if "LAST" in fine else {"person_name", "given_name", "family_name"})
    return frozenset(name for name, type_ in TYPES.items() if type_ == label)
