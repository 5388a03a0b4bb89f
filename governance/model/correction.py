"""What a person says a column holds, against what detectors found or lineage brought."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from governance.model.principal import scope_of

CORRECTION: Final = "application/vnd.governance.classification-correction+json"
"""The media type of a leaf that holds one. Nobody with an ``ingest`` token can append such a leaf."""

CORRECTORS: Final = frozenset({"admin", "rights"})
"""Scopes under which a correction counts."""

Column = tuple[str, str, str]
"""Namespace, dataset and column."""


@dataclass(frozen=True, slots=True)
class Correction:
    """One record: ``column`` of a dataset holds ``to``.

    ``name`` may end in ``*``: then it means every dataset of the namespace whose name begins so, as where each
    day's file is a dataset of its own. ``to`` is a classification, ``none``, or ``None``: earlier corrections are
    withdrawn and findings count again. ``version`` is ``None`` for every version from then on. ``overruled`` maps
    each classification the person saw to the probability it was found with, 0 where lineage brought it. ``by`` is
    who the sender says decided, ``principal`` who sent it, ``index`` its place in the log.
    """

    namespace: str
    name: str
    column: str
    to: str | None
    by: str
    because: str
    at: str
    version: str | None = None
    overruled: Mapping[str, float] = field(default_factory=dict)
    principal: str = ""
    index: int = -1

    @property
    def where(self) -> Column:
        """The column it speaks of, as it was named."""
        return self.namespace, self.name, self.column

    def covers(self, where: Column) -> bool:
        """Whether it speaks of a column."""
        namespace, name, column = where
        named = name.startswith(self.name[:-1]) if self.name.endswith("*") else name == self.name
        return named and (namespace, column) == (self.namespace, self.column)

    def to_json(self) -> dict[str, Any]:
        """The leaf's body, see ``schemas/classification-correction.schema.json``."""
        return {
            "v": 1,
            "dataset": {"namespace": self.namespace, "name": self.name},
            "column": self.column,
            "version": self.version,
            "from": [
                {"classification": found, "probability": probability}
                for found, probability in sorted(self.overruled.items())
            ],
            "to": self.to,
            "by": self.by,
            "because": self.because,
            "at": self.at,
        }

    def contested_by(self, found: str, probability: float, threshold: float) -> bool:
        """Whether a detector contradicts it with more than the person knew of.

        A finding that the person overruled although it was at least as sure as ``threshold`` then contests
        nothing now: otherwise no correction of a sure but wrong detector would ever hold.
        """
        return probability >= threshold and found != self.to and self.overruled.get(found, 0.0) < threshold


def read_correction(body: bytes, principal: str, index: int) -> Correction | None:
    """The correction in a leaf's body; ``None`` if it is of another format or its sender may not correct."""
    if scope_of(principal) not in CORRECTORS:
        return None
    try:
        said = json.loads(body)
        dataset = said["dataset"]
        texts = (
            dataset["namespace"],
            dataset["name"],
            said["column"],
            said["by"],
            said["because"],
            said["at"],
        )
        optional = (said["to"], said["version"])
        overruled = {item["classification"]: float(item["probability"]) for item in said["from"]}
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    well_formed = all(isinstance(t, str) for t in texts) and all(isinstance(t, str | None) for t in optional)
    if said["v"] != 1 or not well_formed or not all(isinstance(found, str) for found in overruled):
        return None
    namespace, name, column, by, because, at = texts
    to, version = optional
    return Correction(namespace, name, column, to, by, because, at, version, overruled, principal, index)


def standing(
    corrections: Iterable[Correction],
    columns: Iterable[Column],
    versions: Mapping[tuple[str, str], str | None],
) -> dict[Column, Correction]:
    """The correction that counts for each column: the newest that is for every version or for the present one.

    Args:
        corrections: in any order.
        columns: those that patterns may mean; a correction without a pattern means its own.
        versions: the present version of each dataset.
    """
    newest: dict[Column, Correction] = {}
    known = list(columns)
    for correction in sorted(corrections, key=lambda each: each.index):
        pattern = correction.name.endswith("*")
        for where in [each for each in known if correction.covers(each)] if pattern else [correction.where]:
            if correction.version is None or correction.version == versions.get(where[:2]):
                newest[where] = correction
    return {where: correction for where, correction in newest.items() if correction.to is not None}
