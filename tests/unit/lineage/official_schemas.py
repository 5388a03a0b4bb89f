"""The official JSON Schemas as a validator of whole events, independent of the client's classes.

Facets are validated by the definition that the spec's facet files give for their key, at the place that
the definition's base (RunFacet, JobFacet, …) names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs

CORE = "https://openlineage.io/spec/2-0-2/OpenLineage.json"
KINDS = ("RunFacet", "JobFacet", "DatasetFacet", "InputDatasetFacet", "OutputDatasetFacet")
_INSTANT = re.compile(r"\d{4}(-\d\d){2}[Tt]\d\d(:\d\d){2}(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_CALENDAR = jsonschema_rs.Draft202012Validator({"format": "date-time"}, validate_formats=True)


def official_instant(text: str) -> bool:
    """jsonschema-rs on what has RFC 3339's shape: alone it takes ``/026-11-24T08:00:00Z`` for a date."""
    return _INSTANT.fullmatch(text) is not None and bool(_CALENDAR.is_valid(text))


class OfficialSchemas:
    """Validators made from a folder with ``OpenLineage.json`` and ``facets/``."""

    def __init__(self, folder: Path) -> None:
        schemas = [json.loads((folder / "OpenLineage.json").read_bytes())]
        schemas += [json.loads(file.read_bytes()) for file in sorted((folder / "facets").glob("*.json"))]
        self._registry = jsonschema_rs.Registry([(schema["$id"], schema) for schema in schemas])
        self._event = self._validator(CORE)
        self.facets: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
        for schema in schemas[1:]:
            [key] = schema["properties"]
            for name, definition in schema["$defs"].items():
                for kind in _bases(definition):
                    self.facets[kind][key] = self._validator(f"{schema['$id']}#/$defs/{name}")
        inputs, outputs = self.facets["InputDatasetFacet"], self.facets["OutputDatasetFacet"]
        self.facets["DatasetFacet"] = outputs | inputs | self.facets["DatasetFacet"]

    def conforms(self, event: Any) -> bool:
        """Whether the event and each facet of a known key at its place are valid."""
        return self._event.is_valid(event) and all(
            self.facets[kind][key].is_valid(facet)
            for kind, key, facet in placed(event)
            if key in self.facets[kind]
        )

    def _validator(self, reference: str) -> Any:
        return jsonschema_rs.Draft202012Validator(
            {"$ref": reference},
            registry=self._registry,
            validate_formats=True,
            formats={"date-time": official_instant},
        )


def placed(event: Any) -> Iterator[tuple[str, str, Any]]:
    """Every facet of an event whose structure is valid, with its kind and key."""
    if "dataset" in event and not ("run" in event and "job" in event):
        yield from _members("DatasetFacet", event["dataset"], "facets")
        return
    yield from _members("RunFacet", event.get("run"), "facets")
    yield from _members("JobFacet", event.get("job"), "facets")
    for member, special in (("inputs", "Input"), ("outputs", "Output")):
        for dataset in event.get(member, ()):
            yield from _members("DatasetFacet", dataset, "facets")
            yield from _members(f"{special}DatasetFacet", dataset, f"{special.lower()}Facets")


def _members(kind: str, owner: Any, member: str) -> Iterator[tuple[str, str, Any]]:
    for key, facet in (owner or {}).get(member, {}).items():
        yield kind, key, facet


def _bases(definition: dict[str, Any]) -> Iterator[str]:
    for part in definition.get("allOf", ()):
        base = part.get("$ref", "").removeprefix(f"{CORE}#/$defs/")
        if base in KINDS:
            yield base
