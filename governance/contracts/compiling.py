"""From an ODCS file to the compiled contract."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from governance.contracts.anonymity import Claims
from governance.contracts.documents import Document, Pointer, read_document
from governance.contracts.faults import Fault, Mark, closest, did_you_mean, findings, without_echoes
from governance.contracts.people import further_people
from governance.contracts.quality import Rules
from governance.contracts.reading import (
    custom_properties,
    entries,
    mapping,
    special_category,
    switch,
    team,
    text,
    texts,
)  # fmt: skip
from governance.contracts.retention import retention_days
from governance.contracts.structure import EXTENSION, structural_faults
from governance.contracts.suites import Suites
from governance.model.classification import HARMLESS
from governance.model.contract import (
    Contract,
    ContractColumn,
    DatasetKind,
    Engine,
    Jurisdiction,
    LoadMode,
    Protection,
    SubjectColumn,
)
from governance.model.policy import Policy

INVALID: Final = "GOV-102"
NO_SUBJECT: Final = "GOV-105"
UNENCRYPTABLE: Final = "GOV-109"

Place: TypeAlias = tuple[str, str]
"""What a fault of the meaning is about: ``("purpose", name)``, ``("protection", source column)`` …"""

_DATASET: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_RELEASED: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_RESERVED: Final = "_governance"
_TYPES: Final = ("string", "integer", "number", "boolean", "date", "timestamp", "time", "object", "array")
_SNIPPET: Final = (
    "{property: governance, value: {kind: training, purposes: [model_training], "
    "subject: {column: customer_id, domain: customer}, jurisdiction: DE}}"
)


@dataclass(slots=True)
class Draft:
    """A contract as far as it could be read, where its parts stand, and what is wrong with it."""

    contract: Contract
    document: Document
    places: dict[Place, Mark] = field(default_factory=dict)
    structure: list[Fault] = field(default_factory=list)
    meaning: list[Fault] = field(default_factory=list)


def read_contract(
    path: Path, policy: Policy | None, data: bytes | None, suites: Suites | None, validated: str | None
) -> Draft:
    """Read a contract without judging it against the policy, which only helps to word proposals.

    Raises:
        ContractError: GOV-101 when the file cannot be read as YAML.
    """
    document, syntax = read_document(path, data, validated)
    structure = without_echoes(syntax, structural_faults(document, (), document.root, "odcs", INVALID))
    if suites is None and data is None:
        suites = lambda name: (path.parent / name).read_bytes()
    draft = _Compiler(document, policy, suites).draft(structure)
    if not draft.structure and not document.validated:
        _by_package(draft)
    return draft


def _by_package(draft: Draft) -> None:
    """Have the ODCS package build its own model of the file: what it cannot hold is not ODCS."""
    from open_data_contract_standard.model import OpenDataContractStandard
    from pydantic import ValidationError

    try:
        OpenDataContractStandard(**draft.document.root)
    except ValidationError as error:
        for said in error.errors(include_url=False, include_input=False):
            mark = draft.document.at(tuple(said["loc"]))
            draft.structure.append(Fault(mark, f"not valid ODCS: {said['msg']}; see the standard", INVALID))


def raise_faults(draft: Draft, further: list[Fault]) -> None:
    """Raise every fault of the draft and ``further`` ones at once; return when there is none."""
    faults = without_echoes(draft.structure, draft.meaning)
    faults = without_echoes(faults, further)
    if faults:
        raise findings(draft.document.path, faults, INVALID)


class _Compiler:
    def __init__(self, document: Document, policy: Policy | None, suites: Suites | None) -> None:
        self._suites = suites
        self._document = document
        self._policy = policy
        self._places: dict[Place, Mark] = {}
        self._structure: list[Fault] = []
        self._meaning: list[Fault] = []

    def draft(self, structure: list[Fault]) -> Draft:
        root = self._document.root
        self._structure = list(structure)
        self._version(root)
        table, at = self._table(root)
        said, here = self._governance(root)
        columns = self._columns(table, at)
        rules = Rules(self._document, columns, self._suites)
        declared = {
            text(p, "name"): (p, i) for i, p in reversed(list(enumerate(entries(table, "properties"))))
        }
        for column in columns:
            entry, index = declared[column.name]
            place: Pointer = (*at, "properties", index)
            rules.constraints(entry, column, place)
            rules.read(entry, column, place)
        rules.read(table, None, at)
        claims = Claims(self._document, columns, INVALID)
        self._meaning += rules.faults
        for rule in rules.found:
            self._places.setdefault(("rule", rule.name), self._document.at(at))
        contract = Contract(
            dataset=self._dataset(table, at),
            version=text(root, "version") or "",
            title=text(root, "name") or text(table, "businessName") or text(table, "name") or "",
            kind=_choice(DatasetKind, text(said, "kind"), DatasetKind.TRAINING),
            digest=self._document.digest,
            columns=tuple(columns),
            subject=self._subject(said, columns, here),
            jurisdiction=self._jurisdiction(said, columns, here),
            purposes=self._purposes(said, here),
            covered_entity=switch(said, "coveredEntity", False),
            special_category=special_category(said),
            mode=_choice(LoadMode, text(said, "loadMode"), LoadMode.FULL),
            partition_by=self._partitions(table, at, columns, said, here),
            retention_days=retention_days(root, self._say),
            on_late_withdrawal=text(said, "onLateWithdrawal") or "rewrite",
            authors=team(root),
            suites=tuple((s.name, s.digest) for s in rules.suites),
            engine=_choice(Engine, text(said, "engine"), Engine.LOCAL),
            rules=tuple(rules.found),
            description=text(mapping(root, "description"), "purpose") or text(table, "description") or "",
            anonymity=claims.anonymity(said, here),
            deidentification=claims.deidentification(said, here),
        )
        self._places[("deidentification", "")] = self._document.at((*here, "deidentification"))
        self._meaning += claims.faults
        self._places[("specialCategory", "")] = self._document.at((*here, "specialCategory"))
        return Draft(contract, self._document, self._places, self._structure, self._meaning)

    def _say(self, at: Pointer, message: str, code: str = INVALID, *, key: bool = False) -> None:
        mark = self._document.key(at) if key else self._document.at(at)
        self._meaning.append(Fault(mark, message, code))

    def _version(self, root: Mapping[str, Any]) -> None:
        version = text(root, "apiVersion")
        if version is not None and version.startswith("v2."):
            self._say(("apiVersion",), f"ODCS {version} is not read; write `apiVersion: v3.1.0`")
        if not text(root, "version") and isinstance(root.get("version"), str):
            self._say(("version",), "`version` is empty; write e.g. `1.0.0`")

    def _table(self, root: Mapping[str, Any]) -> tuple[Mapping[str, Any], Pointer]:
        tables = entries(root, "schema")
        if "schema" not in root or (isinstance(root["schema"], list) and not tables):
            self._say(("schema",), "the contract has no `schema`; write the dataset and its columns under it")
        for index in range(1, len(tables)):
            self._say(
                ("schema", index), "a second dataset; one contract governs one dataset, write another file"
            )
        first = tables[0] if tables and isinstance(tables[0], Mapping) else {}
        if first and not entries(first, "properties"):
            self._say(("schema", 0), "the dataset has no columns; write them under `properties`")
        return first, ("schema", 0)

    def _dataset(self, table: Mapping[str, Any], at: Pointer) -> str:
        name = text(table, "name") or ""
        if name and not _DATASET.fullmatch(name):
            proposal = re.sub(r"[^a-z0-9_-]+", "_", name.lower()).strip("_-")[:63]
            proposal = proposal if _DATASET.fullmatch(proposal) else "my_dataset"
            self._say(
                (*at, "name"),
                "a dataset's name becomes a folder and part of an address: "
                f"lower-case letters, digits, `_` and `-`; write `{proposal}`",
            )
        return name

    def _governance(self, root: Mapping[str, Any]) -> tuple[Mapping[str, Any], Pointer]:
        found = [(value, at) for name, value, at in custom_properties(root, ()) if name == "governance"]
        if not found:
            names = {name: at for name, _, at in custom_properties(root, ())}
            near = closest("governance", names)
            if near is not None:
                at = (*names[near][:-1], "property")
                self._say(at, f"`{near}` is not known here; did you mean `governance`?")
            else:
                say = f"nothing says what the dataset is for; write in `customProperties` {_SNIPPET}"
                self._say(("customProperties",), say)
            return {}, ("customProperties",)
        for _, twice in found[1:]:
            self._say(twice, "`governance` is written a second time; keep one")
        value, at = found[0]
        self._check(at, value, "governance")
        return (value if isinstance(value, Mapping) else {}), at

    def _check(self, at: Pointer, value: Any, definition: str) -> None:
        faults = structural_faults(self._document, at, value, EXTENSION, INVALID, definition)
        self._structure = without_echoes(self._structure, faults)

    def _columns(self, table: Mapping[str, Any], at: Pointer) -> list[ContractColumn]:
        """The columns, each source column and each released name once (DuckDB ignores a name's case)."""
        columns: list[ContractColumn] = []
        released: set[str] = set()
        sources: set[str] = set()
        for index, entry in enumerate(entries(table, "properties")):
            place: Pointer = (*at, "properties", index)
            if not isinstance(entry, Mapping) or text(entry, "name") is None:
                continue
            column = self._column(entry, place)
            if column.name.casefold() in released:
                say = f"column `{column.name}` is written twice; write another `name` or remove one"
                self._say((*place, "name"), say)
            elif column.source_name in sources:
                say = f"source column `{column.source_name}` is released twice; remove one"
                self._say((*place, "name"), say)
            else:
                columns.append(column)
            released.add(column.name.casefold())
            sources.add(column.source_name)
        return columns

    def _column(self, entry: Mapping[str, Any], at: Pointer) -> ContractColumn:
        name = text(entry, "name") or ""
        source = text(entry, "physicalName") or name
        classification = text(entry, "classification")
        self._places.setdefault(("column", source), self._document.at(at))
        self._places.setdefault(("classification", source), self._document.at((*at, "classification")))
        if not _RELEASED.fullmatch(name) or name.startswith(_RESERVED):
            say = "a released column is named by letters, digits and `_`; write such a `name`"
            self._say((*at, "name"), f"{say} and the source's as `physicalName`", UNENCRYPTABLE)
        protection = self._protection(entry, name, classification, source, at)
        kind = self._type(entry, at, protection)
        return ContractColumn(
            name=name,
            source_name=source,
            logical_type=kind,
            classification=classification,
            protection=protection,
            required=switch(entry, "required", False) or switch(entry, "primaryKey", False),
            description=text(entry, "description") or "",
        )

    def _type(self, entry: Mapping[str, Any], at: Pointer, protection: Protection) -> str:
        kind = text(entry, "logicalType")
        if kind is None:
            if "logicalType" not in entry:
                name = text(entry, "name")
                self._say(
                    (*at, "name"), f"column `{name}` has no `logicalType`; write e.g. `logicalType: string`"
                )
            return "string"
        dropped = protection.method == "drop"
        if kind in ("map", "vector") and not dropped:
            self._say(
                (*at, "logicalType"),
                f"columns of type `{kind}` are not governed yet; write protection `drop`",
            )
        if (entries(entry, "properties") or mapping(entry, "items")) and not dropped:
            inner = "properties" if "properties" in entry else "items"
            say = f"what is inside a column is not governed yet; remove `{inner}`, classify the whole"
            self._say((*at, inner), say, key=True)
        return kind if kind in _TYPES else "string"

    def _protection(
        self, entry: Mapping[str, Any], name: str, classification: str | None, source: str, at: Pointer
    ) -> Protection:
        for said, value, place in custom_properties(entry, at):
            if said == "protection":
                self._check(place, value, "protection")
                self._places.setdefault(("protection", source), self._document.at(place))
                if isinstance(value, str):
                    return Protection(value)
                return Protection(text(value, "method") or "drop", dict(mapping(value, "arguments")))
            if closest(said, ["protection"]):
                mark = (*place[:-1], "property")
                self._say(mark, f"`{said}` is not known here; did you mean `protection`?")
                return Protection("drop")
        if classification == HARMLESS:
            return Protection("keep")
        mark = (*at, "name")
        if classification is None:
            say = (
                "says neither its classification nor its protection; "
                "write `classification: none` if it holds nothing personal"
            )
        else:
            rule = self._policy.classifications.get(classification) if self._policy else None
            method = rule.protections[0] if rule else "drop"
            say = f"has no protection; write `customProperties: [{{property: protection, value: {method}}}]`"
        self._say(mark, f"column `{name}` {say}")
        return Protection("drop" if classification else "keep")

    def _subject(self, said: Mapping[str, Any], columns: list[ContractColumn], at: Pointer) -> SubjectColumn:
        subject = mapping(said, "subject")
        name = text(subject, "column")
        place: Pointer = (*at, "subject", "column")
        if name is not None and columns:
            self._source_column(name, columns, place, "subject column", NO_SUBJECT)
        domain = text(subject, "domain") or ""
        self._places[("domain", domain)] = self._document.at((*at, "subject", "domain"))
        self._places[("subject", "")] = self._document.at(place)
        others, other_domains = further_people(said, at, self._say)
        for each in other_domains:
            self._places.setdefault(("domain", each), self._document.at((*at, "subject", "others")))
        for index, other in enumerate(others if columns else ()):
            self._source_column(
                other, columns, (*at, "subject", "others", index), "subject column", NO_SUBJECT
            )
        return SubjectColumn(
            name or "", domain, text(subject, "role") or "data_subject", others, other_domains
        )

    def _jurisdiction(
        self, said: Mapping[str, Any], columns: list[ContractColumn], at: Pointer
    ) -> Jurisdiction:
        place: Pointer = (*at, "jurisdiction")
        self._places[("jurisdiction", "")] = self._document.at(place)
        if (constant := text(said, "jurisdiction")) is not None:
            return Jurisdiction(None, constant)
        name = text(mapping(said, "jurisdiction"), "column")
        if name is not None and columns:
            self._source_column(name, columns, (*place, "column"), "jurisdiction column", INVALID)
        return Jurisdiction(name, None)

    def _source_column(
        self, name: str, columns: list[ContractColumn], at: Pointer, what: str, code: str
    ) -> None:
        sources = [c.source_name for c in columns]
        if name in sources:
            return
        renamed = next((c for c in columns if c.name == name), None)
        if renamed is not None:
            say = f"`{name}` is the released name of the {what}; write the source's, `{renamed.source_name}`"
        else:
            say = f"the {what} `{name}` is not among the columns; {did_you_mean(name, sources)}"
        self._say(at, say, code)

    def _purposes(self, said: Mapping[str, Any], at: Pointer) -> tuple[str, ...]:
        for index, purpose in enumerate(entries(said, "purposes")):
            if isinstance(purpose, str):
                self._places.setdefault(("purpose", purpose), self._document.at((*at, "purposes", index)))
        return tuple(texts(said, "purposes"))

    def _partitions(
        self,
        table: Mapping[str, Any],
        at: Pointer,
        columns: list[ContractColumn],
        said: Mapping[str, Any],
        here: Pointer,
    ) -> tuple[str, ...]:
        """ODCS' ``partitioned`` and ``partitionKeyPosition``, as released names in key order."""
        found: list[tuple[int, int, str]] = []
        released = {c.name: c for c in columns}
        for index, entry in enumerate(entries(table, "properties")):
            column = released.get(text(entry, "name") or "")
            if column is None or not switch(entry, "partitioned", False):
                continue
            place: Pointer = (*at, "properties", index, "partitioned")
            self._places[("partition", column.source_name)] = self._document.at(place)
            if column.protection.method == "drop":
                say = f"column `{column.name}` is dropped and cannot partition; remove `partitioned`"
                self._say(place, say, key=True)
                continue
            position = entry.get("partitionKeyPosition")
            found.append((position if isinstance(position, int) else index + 1, index, column.name))
        if text(said, "loadMode") == LoadMode.REPLACE_PARTITION and not found:
            say = "`replace-partition` needs a partition; write `partitioned: true` on a column, or `full`"
            self._say((*here, "loadMode"), say)
        return tuple(name for _, _, name in sorted(found))


def _choice(kind: Any, value: str | None, default: Any) -> Any:
    return kind(value) if value in list(kind) else default
