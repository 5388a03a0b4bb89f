"""A first contract for a file, from what was found in it: for a person to confirm, and valid as written.

Where something cannot be known it takes the stricter side: what no detector can name is undeclared and
dropped, special categories are dropped, and nothing it writes gives consent or widens a purpose.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from governance.errors import ContractError
from governance.model.classification import HARMLESS, UNCLASSIFIED, ColumnClassification
from governance.model.policy import Policy, Purpose

CONFIRM = "CONFIRM:"

_SUBJECTS = (
    "medical_record_number", "customer_id", "health_plan_id", "national_id", "ssn", "email", "username", "phone",
    "account_number", "person_name",
)  # fmt: skip
"""What may identify whom a row is about, likeliest first."""
_HEALTH = frozenset({"medical_record_number", "health_plan_id", "health_condition", "medication", "npi"})
_INNER = frozenset({"object", "array", "map"})
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NOT_PLAIN = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_NOT_RELEASED = re.compile(r"[^A-Za-z0-9_]+")
_IDENTIFYING_NAME = re.compile(r"(?:^|[_\W])(?:id|key|code|nr|no|number)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class DraftColumn:
    """A column of the file with what was found: one finding, or those of its leaves where it is nested."""

    name: str
    logical_type: str
    findings: tuple[ColumnClassification, ...]


@dataclass(frozen=True, slots=True)
class DraftTerm:
    """What a classification means: its title in words, clauses of law, special category or not, default protection."""

    title: str
    sensitivity: str
    clauses: tuple[str, ...]
    special_category: bool
    protect: str


@dataclass(frozen=True, slots=True)
class _Drafted:
    column: DraftColumn
    released: str
    classification: str | None
    method: str
    comments: tuple[str, ...]


def draft_contract(
    dataset: str,
    columns: Sequence[DraftColumn],
    terms: Mapping[str, DraftTerm],
    *,
    policy: Policy | None = None,
    fits: Callable[[str, str], bool] = lambda _method, _column: True,
) -> str:
    """An ODCS contract as YAML, with the evidence as comments and ``CONFIRM:`` where a person has to look.

    Args:
        dataset: any text; it is made into a dataset's name.
        columns: in the file's order.
        terms: what each classification found means.
        policy: what protections and purposes are taken from; without it those of ``terms``.
        fits: whether a protection method can take a column of the file.

    Raises:
        ContractError: GOV-105 when no column can be the subject, GOV-104 when the policy has no purpose
            that could be proposed.
    """
    return _Drafting(columns, terms, policy, fits).text(_dataset_name(dataset))


class _Drafting:
    def __init__(
        self,
        columns: Sequence[DraftColumn],
        terms: Mapping[str, DraftTerm],
        policy: Policy | None,
        fits: Callable[[str, str], bool],
    ) -> None:
        self._columns = columns
        self._terms = terms
        self._policy = policy
        self._fits = fits
        self._found = {c.name: self._worst(c) for c in columns}

    def text(self, dataset: str) -> str:
        subject, certain = self._subject()
        where = self._jurisdiction()
        drafted = [self._drafted(c, name, subject, where) for c, name in self._released()]
        health = any(f.classification in _HEALTH for c in self._columns for f in c.findings)
        special = any(
            d.classification and self._special(d.classification) and d.method != "drop" for d in drafted
        )
        constant = None if where else self._strictest()
        inside = [d for d in drafted if d.method != "drop" and self._tells_special(d.column)]
        try:
            purpose, covered = self._purpose(constant, special or bool(inside), health)
            special = special or bool(inside)
        except ContractError:
            if not inside or any(d.column.name == subject for d in inside):
                raise
            # Without a purpose that may hold special categories, the text that tells of them cannot stay.
            why = "dropped: its text tells of special categories, and no purpose has an Art. 9(2) condition"
            drafted = [
                replace(d, method="drop", comments=(*d.comments, why)) if d in inside else d for d in drafted
            ]
            purpose, covered = self._purpose(constant, special, health)
        lines = [
            "# Drafted from a scan of the file; the evidence stands above each column. Before use, look at every",
            f"# line with {CONFIRM} and have the owner of the data approve it. Reference: docs/contracts.md.",
            "apiVersion: v3.1.0",
            "kind: DataContract",
            f"id: {_quoted(dataset)}",
            "version: 0.1.0",
            "status: draft",
            "customProperties:",
            "  - property: governance",
            "    value:",
            f"      kind: training   # {CONFIRM} training or inference",
            f"      purposes: [{purpose}]   # {CONFIRM} why the data is used; a purpose of the policy",
            f"      # {CONFIRM} whom a row is about"
            + ("" if certain else f". {self._uncertain()}; this is a guess"),
            f"      subject: {{column: {_quoted(subject)}, domain: {self._domain(subject)}}}",
            *self._where(where, constant),
            f"      coveredEntity: {_yaml(covered)}   # {CONFIRM} whether HIPAA applies to the organisation",
            f"      specialCategory: {_yaml(special)}",
            "schema:",
            f"  - name: {_quoted(dataset)}",
            "    physicalType: table",
            "    properties:",
        ]
        for each in drafted:
            lines += _property(each)
        return "\n".join(lines) + "\n"

    def _worst(self, column: DraftColumn) -> ColumnClassification | None:
        levels = (
            self._policy.sensitivities
            if self._policy
            else ("public", "internal", "confidential", "restricted")
        )

        def level(found: ColumnClassification) -> int:
            if found.classification == UNCLASSIFIED:
                return len(levels)
            name = (
                self._policy.sensitivity(found.classification)
                if self._policy
                else self._terms[found.classification].sensitivity
            )
            return -1 if found.classification == HARMLESS else levels.index(name)

        return max(column.findings, key=level, default=None)

    def _classification(self, name: str) -> str | None:
        found = self._found[name]
        return None if found is None else found.classification

    def _special(self, classification: str) -> bool:
        if self._policy is not None:
            rule = self._policy.classifications.get(classification)
            return rule is not None and rule.special_category
        return self._terms[classification].special_category

    def _tells_special(self, column: DraftColumn) -> bool:
        return any(self._special(c.classification) for f in column.findings for c in f.contains)

    def _allowed(self, classification: str | None) -> tuple[str, ...] | None:
        """The protections that are enough; ``None``: any."""
        if classification in (None, HARMLESS, UNCLASSIFIED) or self._policy is None:
            return None
        rule = self._policy.classifications.get(classification or "")
        return rule.protections if rule else None

    def _subject(self) -> tuple[str, bool]:
        fit = [
            c.name
            for c in self._columns
            if c.logical_type not in _INNER
            and self._fits("pseudonym", c.name)
            and "pseudonym" in (self._allowed(self._declared(c.name)) or ("pseudonym",))
        ]
        for wanted in _SUBJECTS:
            for name in fit:
                if self._classification(name) == wanted:
                    return name, True
        harmless = [n for n in fit if self._classification(n) in (HARMLESS, UNCLASSIFIED, None)]
        named = [n for n in harmless if _IDENTIFYING_NAME.search(n)]
        for name in (*named, *harmless, *fit):
            return name, False
        raise ContractError(
            "GOV-105",
            "no column of the file can be the subject of its rows: none can be a pseudonym under the policy",
            "add the identifier of the data subject to the file, or let the policy give it a pseudonym",
        )

    def _uncertain(self) -> str:
        inside = {
            f.classification: f.column
            for column in self._columns
            if column.logical_type in _INNER
            for f in column.findings
            if f.classification in _SUBJECTS
        }
        for wanted in _SUBJECTS:
            if wanted in inside:
                field = _one_line(inside[wanted])
                return f"{field} identifies a person inside an object: only a column of its own can be the subject"
        return "Nothing in the file clearly identifies a person"

    def _declared(self, name: str) -> str | None:
        """The classification to declare: none where no detector or not the policy knows it."""
        classification = self._classification(name)
        if classification in (None, UNCLASSIFIED):
            return None
        if self._policy is not None and classification not in self._policy.classifications:
            return None
        return classification

    def _jurisdiction(self) -> str | None:
        for column in self._columns:
            named = "jurisdiction" in column.name.lower()
            if (
                named
                and self._classification(column.name) == "jurisdiction"
                and "keep" in (self._allowed("jurisdiction") or ("keep",))
            ):
                return column.name
        return None

    def _strictest(self) -> str:
        if self._policy is None:
            return "DE"
        codes = self._policy.jurisdictions
        return max(codes, key=lambda code: ("GDPR" in codes[code], len(codes[code]), code == "DE"))

    def _where(self, where: str | None, constant: str | None) -> Iterator[str]:
        if where is not None:
            yield f"      jurisdiction: {{column: {_quoted(where)}}}   # {CONFIRM} it holds codes such as DE or US-CA"
        else:
            said = f"{CONFIRM} where the subjects are; the strictest law is assumed"
            yield f"      jurisdiction: {_quoted(constant or '')}   # {said}"

    def _purpose(self, constant: str | None, special: bool, health: bool) -> tuple[str, bool]:
        """A purpose to propose and whether HIPAA is assumed; one that stands on consent first."""
        if self._policy is None:
            return "model_training", health
        under_gdpr = constant is None or "GDPR" in self._policy.jurisdictions.get(constant, ())

        def holds(purpose: Purpose) -> bool:
            return not under_gdpr or (
                purpose.gdpr_basis is not None and (not special or purpose.gdpr_condition is not None)
            )

        possible = sorted(
            filter(holds, self._policy.purposes.values()),
            key=lambda p: (health and p.hipaa_ground is None, p.gdpr_basis != "consent"),
        )
        if not possible:
            raise ContractError(
                "GOV-104",
                "the policy has no purpose with a lawful basis that this file could be used for",
                "add a purpose to the policy, with its basis under `gdpr`",
            )
        return possible[0].name, health and possible[0].hipaa_ground is not None

    def _domain(self, subject: str) -> str:
        wanted = "patient" if self._classification(subject) in _HEALTH else "customer"
        controllers = self._policy.organisation.get("controllers", ()) if self._policy else ()
        domains = [str(d) for c in controllers for d in c.get("domains", ())]
        return wanted if wanted in domains or not domains else domains[0]

    def _released(self) -> Iterator[tuple[DraftColumn, str]]:
        taken: set[str] = set()
        for column in self._columns:
            base = _NOT_RELEASED.sub("_", column.name).strip("_")[:100] or "column"
            base = f"c_{base}" if base[0].isdigit() else base
            name, number = base, 2
            while name.casefold() in taken:
                name, number = f"{base}_{number}", number + 1
            taken.add(name.casefold())
            yield column, name

    def _drafted(self, column: DraftColumn, released: str, subject: str, where: str | None) -> _Drafted:
        found, declared = self._found[column.name], self._declared(column.name)
        comments = [self._evidence(f, nested=len(column.findings) > 1) for f in column.findings]
        comments += [
            f"inside: {self._title(c.classification)} in {c.rows:,} {'row' if c.rows == 1 else 'rows'}"
            for f in column.findings
            for c in f.contains
        ]
        if column.name == subject:
            method = "pseudonym"
            comments.append(f"{CONFIRM} the subject of each row")
        elif column.name == where:
            method = "keep"
        else:
            method = self._method(column, declared)
        if declared is None:
            known = found is not None and found.classification != UNCLASSIFIED
            comments.append(
                f"{CONFIRM} the policy does not know `{found.classification}`; have it added, then declare it"
                if known and found is not None
                else f"{CONFIRM} no detector can name it; write its classification, or `none`"
            )
        elif column.name != subject and (others := self._others(declared, method)):
            comments.append(f"also enough: {', '.join(others)}")
        return _Drafted(column, released, declared, method, tuple(comments))

    def _method(self, column: DraftColumn, declared: str | None) -> str:
        if declared is None or column.logical_type in _INNER:
            return "drop"
        if declared == HARMLESS:
            return "keep"
        allowed = self._allowed(declared)
        proposed = [
            m for m in allowed or (self._terms[declared].protect, "drop") if m not in ("pseudonym", "token")
        ]
        if self._special(declared) and "drop" in proposed:
            return "drop"
        return next(
            (m for m in proposed if m == "drop" or self._fits(m, column.name)), "token" if allowed else "drop"
        )

    def _others(self, declared: str, method: str) -> list[str]:
        return [m for m in self._allowed(declared) or () if m not in (method, "pseudonym")]

    def _title(self, classification: str) -> str:
        term = self._terms.get(classification)
        return term.title if term else classification

    def _evidence(self, found: ColumnClassification, *, nested: bool) -> str:
        term = self._terms[found.classification]
        law = f"; {', '.join(term.clauses)}" if term.clauses else ""
        head = f"{found.column}: " if nested else ""
        sure = "" if found.classification == UNCLASSIFIED else f", {found.confidence:.0%} sure"
        why = "; ".join(e for e in found.evidence if not (found.contains and e.startswith("of ")))
        return f"{head}{term.title} ({term.sensitivity}{law}){sure}: {why}"


def _property(drafted: _Drafted) -> Iterator[str]:
    column = drafted.column
    yield from (f"      # {_one_line(comment)}" for comment in drafted.comments)
    yield f"      - name: {_quoted(drafted.released)}"
    if drafted.released != column.name:
        yield f"        physicalName: {_quoted(column.name)}"
    yield f"        logicalType: {column.logical_type}"
    if drafted.classification is not None:
        yield f"        classification: {drafted.classification}"
    if drafted.method != "keep" or drafted.classification != HARMLESS:
        value = drafted.method
        if value == "token":
            value = f"{{method: token, arguments: {{domain: {drafted.released.lower()}, erasable: false}}}}"
        yield f"        customProperties: [{{property: protection, value: {value}}}]"


def _dataset_name(text: str) -> str:
    name = re.sub(r"[^a-z0-9_-]+", "_", text.lower()).strip("_-")[:63]
    return name if re.fullmatch(r"[a-z][a-z0-9_-]*", name) else f"dataset_{name}"[:63].rstrip("_-")


def _quoted(text: str) -> str:
    """A YAML scalar that every reader takes for this text."""
    if _PLAIN.fullmatch(text) and text.lower() not in _NOT_PLAIN:
        return text
    escaped = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() or c == " " else f"\\U{ord(c):08X}" for c in escaped)


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _yaml(value: bool) -> str:
    return "true" if value else "false"
