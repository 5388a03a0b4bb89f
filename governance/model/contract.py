"""A compiled dataset contract: what the stages need, nothing of the YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from governance.model.anonymity import Anonymity
from governance.model.deidentification import Deidentification


class DatasetKind(StrEnum):
    TRAINING = "training"
    INFERENCE = "inference"


class LoadMode(StrEnum):
    FULL = "full"
    APPEND = "append"
    REPLACE_PARTITION = "replace-partition"


class Engine(StrEnum):
    """Where the rewriting pass runs: in this process, on Spark, or by the size of the source."""

    LOCAL = "local"
    SPARK = "spark"
    AUTO = "auto"


class RuleScope(StrEnum):
    """Where a quality rule is judged: on source rows (failing rows are diverted) or on the version."""

    SOURCE = "source"
    PROTECTED = "protected"


@dataclass(frozen=True, slots=True)
class Protection:
    """A transform by its registered name, e.g. ``pseudonym``, ``mask``, ``date_to_year``, ``keep``."""

    method: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContractColumn:
    """``name`` is the released name, ``source_name`` the physical one in the source.

    ``logical_type`` is ODCS': string, integer, number, boolean, date, timestamp, time, object, array.
    ``classification`` is what the author declares, ``none`` included; ``None`` means undeclared.
    """

    name: str
    source_name: str
    logical_type: str
    classification: str | None
    protection: Protection
    required: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class SubjectColumn:
    """The source column that identifies the data subject, and the domain its identifiers belong to.

    Identifiers of one domain (``patient``, ``customer``) name the same subject in every dataset.
    ``others`` are source columns that identify further subjects of a row; an empty cell is nobody. A row goes only when
    every one of them allows it. ``other_domains`` are their domains; without them all are of the subject's.
    """

    source_name: str
    domain: str
    role: str = "data_subject"
    others: tuple[str, ...] = ()
    other_domains: tuple[str, ...] = ()

    @property
    def domains(self) -> tuple[str, ...]:
        """The domain of each of :attr:`columns`."""
        return (self.domain, *(self.other_domains or (self.domain,) * len(self.others)))

    @property
    def every_domain(self) -> tuple[str, ...]:
        """The domains there are, the subject's first."""
        return tuple(dict.fromkeys(self.domains))

    @property
    def columns(self) -> tuple[str, ...]:
        """The source columns that identify people, the data subject's first."""
        return (self.source_name, *self.others)


@dataclass(frozen=True, slots=True)
class Jurisdiction:
    """Where the subject is: a source column, or one constant for the whole dataset."""

    source_name: str | None
    constant: str | None


@dataclass(frozen=True, slots=True)
class Rule:
    """A quality rule in Great Expectations' vocabulary."""

    name: str
    expectation: str
    arguments: Mapping[str, Any]
    scope: RuleScope


@dataclass(frozen=True, slots=True)
class Contract:
    """A compiled contract. ``digest`` is of the file's bytes and is what a run pins.

    ``authors`` are the user names of ODCS' ``team``. ``suites`` are files of expectations beside it with their digests.
    """

    dataset: str
    version: str
    title: str
    kind: DatasetKind
    digest: str
    columns: tuple[ContractColumn, ...]
    subject: SubjectColumn
    jurisdiction: Jurisdiction
    purposes: tuple[str, ...]
    covered_entity: bool
    special_category: bool
    mode: LoadMode
    partition_by: tuple[str, ...]
    retention_days: int | None
    on_late_withdrawal: str
    rules: tuple[Rule, ...]
    description: str = ""
    anonymity: Anonymity | None = None
    deidentification: Deidentification | None = None
    authors: tuple[str, ...] = ()
    suites: tuple[tuple[str, str], ...] = ()
    engine: Engine = Engine.LOCAL

    @property
    def reversible(self) -> tuple[str, ...]:
        """The released columns of free text whose tokens can be turned back into values."""
        return tuple(
            c.name
            for c in self.columns
            if c.protection.method == "redact" and c.protection.arguments.get("reversible") is True
        )

    @property
    def people(self) -> Mapping[str, str]:
        """The released columns that name people, and the domain of each, the subject's first."""
        named = zip(self.subject.columns, self.subject.domains, strict=True)
        return {c.name: domain for source, domain in named if (c := self.column(source))}

    def column(self, source_name: str) -> ContractColumn | None:
        return next((c for c in self.columns if c.source_name == source_name), None)
