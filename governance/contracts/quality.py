"""ODCS quality rules and constraints as rules in Great Expectations' vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from governance.contracts.documents import Document, Pointer
from governance.contracts.expectations import COLUMN_ARGUMENTS, EXPECTATIONS, OWN
from governance.contracts.faults import Fault, closest, did_you_mean, listed
from governance.contracts.reading import custom_properties, entries, mapping, switch, text
from governance.contracts.suites import NoSuite, Suite, Suites
from governance.model.contract import ContractColumn, Rule, RuleScope

_ENGINES: Final = {"greatexpectations": EXPECTATIONS, "governance": OWN}
_KNOWN: Final = {**EXPECTATIONS, **OWN}
_DROPPED: Final = "drop"
_INVALID: Final = "GOV-102"


class Rules:
    """Gathers a contract's rules; ``faults`` and ``found`` fill as rules are read."""

    def __init__(
        self, document: Document, columns: Sequence[ContractColumn], suites: Suites | None = None
    ) -> None:
        self.found: list[Rule] = []
        self.suites: list[Suite] = []
        self._read_suite = suites
        self._inside: tuple[Pointer, str] | None = None
        self.faults: list[Fault] = []
        self._document = document
        self._named: dict[str, int] = {}
        self._names = {
            RuleScope.SOURCE: [c.source_name for c in columns],
            RuleScope.PROTECTED: [c.name for c in columns if c.protection.method != _DROPPED],
        }
        self._dropped = {c.name for c in columns if c.protection.method == _DROPPED}

    def constraints(self, declared: Mapping[str, Any], column: ContractColumn, at: Pointer) -> None:
        """ODCS' own constraints of a property, judged on the source: ``required``, ``unique``, ``enum`` …"""
        name = column.source_name
        primary = switch(declared, "primaryKey", False)
        if column.required or primary:
            self._add(f"{name} is required", "expect_column_values_to_not_be_null", {"column": name})
        if switch(declared, "unique", False) or primary:
            self._add(f"{name} is unique", "expect_column_values_to_be_unique", {"column": name})
        choices = [e["value"] for e in entries(declared, "enum") if isinstance(e, Mapping) and "value" in e]
        if choices:
            arguments = {"column": name, "value_set": choices}
            self._add(f"{name} is one of its values", "expect_column_values_to_be_in_set", arguments)
        options = mapping(declared, "logicalTypeOptions")
        if isinstance(options.get("pattern"), str):
            arguments = {"column": name, "regex": options["pattern"]}
            self._add(f"{name} matches its pattern", "expect_column_values_to_match_regex", arguments)
        lengths = _bounds(options, {"min_value": "minLength", "max_value": "maxLength"})
        if lengths:
            arguments = {"column": name, **lengths}
            self._add(f"{name} has its length", "expect_column_value_lengths_to_be_between", arguments)
        strict: dict[str, Any] = {"strict_min": True} if "exclusiveMinimum" in options else {}
        strict |= {"strict_max": True} if "exclusiveMaximum" in options else {}
        lowest = "exclusiveMinimum" if "exclusiveMinimum" in options else "minimum"
        highest = "exclusiveMaximum" if "exclusiveMaximum" in options else "maximum"
        between = _bounds(options, {"min_value": lowest, "max_value": highest})
        if between:
            arguments = {"column": name, **between, **strict}
            self._add(f"{name} is in its range", "expect_column_values_to_be_between", arguments)
        if "multipleOf" in options:
            place = (*at, "logicalTypeOptions", "multipleOf")
            self._fault(place, "`multipleOf` is not judged by any expectation; remove it", key=True)

    def read(self, owner: Mapping[str, Any], column: ContractColumn | None, at: Pointer) -> None:
        """The ``quality`` entries of a property (``column``) or of the table."""
        for index, entry in enumerate(entries(owner, "quality")):
            place: Pointer = (*at, "quality", index)
            if isinstance(entry, Mapping):
                self._entry(entry, column, place)

    def _entry(self, entry: Mapping[str, Any], column: ContractColumn | None, at: Pointer) -> None:
        kind = text(entry, "type") or "library"
        scope = self._scope(entry, at)
        if kind == "text":
            return
        if kind == "sql":
            say = "`type: sql` is not run here; write `type: custom` with `engine: greatExpectations`"
            self._fault((*at, "type"), say)
        elif kind == "custom":
            self._custom(entry, column, scope, at)
        else:
            self._library(entry, column, scope, at)

    def _scope(self, entry: Mapping[str, Any], at: Pointer) -> RuleScope:
        for name, value, place in custom_properties(entry, at):
            if name == "scope":
                if isinstance(value, str) and value in list(RuleScope):
                    return RuleScope(value)
                self._fault(
                    place, f"`scope` is unknown; {did_you_mean(str(value), [s.value for s in RuleScope])}"
                )
                return RuleScope.PROTECTED
            if closest(name, ["scope"]):
                mark = (*place[:-1], "property")
                self._fault(mark, f"`{name}` is not known here; did you mean `scope`?")
        return RuleScope.PROTECTED

    def _custom(
        self, entry: Mapping[str, Any], column: ContractColumn | None, scope: RuleScope, at: Pointer
    ) -> None:
        engine = text(entry, "engine") or ""
        known = _ENGINES.get(engine.replace("-", "").replace("_", "").lower())
        if known is None:
            say = f"the engine `{engine}` is not run here; write `engine: greatExpectations`"
            self._fault((*at, "engine"), say)
            return
        body = entry.get("implementation")
        inside: Pointer = (*at, "implementation")
        if not isinstance(body, Mapping):
            say = "`implementation` must be a mapping; write `{type: expect_…, kwargs: {…}}`"
            self._fault(inside, say)
            return
        if "suite" in body:
            self._suite(body, scope, inside)
            return
        for key in sorted(set(body) - {"type", "kwargs", "meta"}):
            say = f"`{key}` is not known in `implementation`; {did_you_mean(key, ['type', 'kwargs', 'meta'])}"
            self._fault((*inside, key), say, key=True)
        name = body.get("type")
        if not isinstance(name, str):
            self._fault(
                inside, "`implementation` has no `type`; write `type: expect_column_values_to_not_be_null`"
            )
            return
        if name not in known:
            near = did_you_mean(name, known, "see the list in the reference, e.g.")
            self._fault((*inside, "type"), f"`{name}` is not an expectation; {near}")
            return
        arguments = self._arguments(name, body.get("kwargs", {}), column, scope, inside)
        self._judged(name, arguments, scope, inside)
        label = text(entry, "name")
        self._add(
            label or self._default(name, arguments), name, arguments, scope, (*at, "name") if label else at
        )

    def _suite(self, body: Mapping[str, Any], scope: RuleScope, at: Pointer) -> None:
        """Every expectation of a suite file is a rule of its own; faults stand where the contract names the file."""
        for key in sorted(set(body) - {"suite"}):
            self._fault((*at, key), f"`{key}` has no meaning beside `suite`; remove it", key=True)
        place: Pointer = (*at, "suite")
        try:
            suite = Suite.named(body["suite"])
            self.suites.append(suite)
            # Who loads a contract from a version's folder for reading has no suites, and judges nothing.
            expectations = list(suite.read(self._read_suite)) if self._read_suite else []
        except NoSuite as fault:
            self._fault(place, str(fault))
            return
        for number, (name, given) in enumerate(expectations, 1):
            self._inside = (place, f"{suite.name}, expectation {number}")
            if name not in EXPECTATIONS:
                self._fault(place, f"`{name}` is not an expectation; {did_you_mean(name, EXPECTATIONS)}")
                continue
            arguments = self._arguments(name, given, None, scope, at)
            self._judged(name, arguments, scope, at)
            self._add(f"{suite.name} {number}: {self._default(name, arguments)}", name, arguments, scope, at)
        self._inside = None

    def _arguments(
        self, name: str, given: Any, column: ContractColumn | None, scope: RuleScope, at: Pointer
    ) -> dict[str, Any]:
        expectation = _KNOWN[name]
        if not isinstance(given, Mapping):
            self._fault((*at, "kwargs"), "`kwargs` must be a mapping; write `{min_value: 0}`")
            given = {}
        arguments = dict(given)
        if column is not None and "column" in expectation.required and "column" not in arguments:
            arguments = {"column": self._here(column, scope), **arguments}
        unknown = sorted(set(given) - set(expectation.arguments))
        for key in unknown:
            near = did_you_mean(key, expectation.arguments)
            self._fault((*at, "kwargs", key), f"`{key}` is not an argument of `{name}`; {near}", key=True)
        meant = {closest(key, expectation.arguments) for key in unknown}
        missing = [key for key in expectation.required if key not in arguments and key not in meant]
        if missing:
            self._fault(
                at,
                f"`{name}` lacks {listed(missing)}; write {'them' if len(missing) > 1 else 'it'} in `kwargs`",
            )
        mostly = arguments.get("mostly", 1.0)
        if "mostly" in expectation.arguments and (isinstance(mostly, bool) or not _share(mostly)):
            self._fault((*at, "kwargs", "mostly"), "`mostly` must be a share; write a number from 0 to 1")
        return arguments

    def _judged(self, name: str, arguments: Mapping[str, Any], scope: RuleScope, at: Pointer) -> None:
        """Whether the rule can be judged where it says, on columns that are there."""
        if scope is RuleScope.SOURCE and not _KNOWN[name].by_row:
            say = f"`{name}` judges the whole table and cannot divert rows; write scope `protected`"
            self._fault((*at, "type"), say)
        if scope is RuleScope.SOURCE and "mostly" in arguments:
            say = "`mostly` has no meaning at the source, where each failing row is diverted; remove it"
            self._fault((*at, "kwargs", "mostly"), say, key=True)
        for argument in COLUMN_ARGUMENTS:
            value = arguments.get(argument)
            for column in value if isinstance(value, list) else [value] if value is not None else []:
                if not isinstance(column, str):
                    self._fault((*at, "kwargs", argument), f"`{argument}` must name a column; write its name")
                elif column not in self._names[scope]:
                    self._absent(column, scope, (*at, "kwargs", argument))

    def _absent(self, column: str, scope: RuleScope, at: Pointer) -> None:
        if scope is RuleScope.PROTECTED and column in self._dropped:
            say = f"column `{column}` is dropped and not in the protected version; write scope `source`"
        else:
            near = did_you_mean(column, self._names[scope])
            place = "source" if scope is RuleScope.SOURCE else "protected version"
            say = f"column `{column}` is not in the {place}; {near}"
        self._fault(at, say)

    def _library(
        self, entry: Mapping[str, Any], column: ContractColumn | None, scope: RuleScope, at: Pointer
    ) -> None:
        metric = text(entry, "metric")
        if metric is None:
            say = "a rule needs a `metric`, or `type: custom` with an `engine`; write one of them"
            if "engine" in entry:
                say = "the rule has an `engine` and no `type`; write `type: custom`"
            self._fault(at, say)
            return
        made = _METRICS.get(metric, _unsupported)(
            entry, None if column is None else self._here(column, scope)
        )
        if made is None:
            self._fault(
                (*at, "metric"),
                f"`{metric}` so compared has no expectation; write `type: custom` with an `engine`",
            )
            return
        name, arguments = made
        self._judged(name, arguments, scope, at)
        label = text(entry, "name")
        self._add(
            label or self._default(name, arguments), name, arguments, scope, (*at, "name") if label else at
        )

    def _here(self, column: ContractColumn, scope: RuleScope) -> str:
        return column.source_name if scope is RuleScope.SOURCE else column.name

    @staticmethod
    def _default(name: str, arguments: Mapping[str, Any]) -> str:
        column = arguments.get("column")
        return f"{column} {name}" if isinstance(column, str) else name

    def _add(
        self,
        label: str,
        name: str,
        arguments: dict[str, Any],
        scope: RuleScope = RuleScope.SOURCE,
        at: Pointer | None = None,
    ) -> None:
        rule = Rule(label, name, arguments, scope)
        times = self._named.get(label, 0) + 1
        self._named[label] = times
        if times > 1:
            if at is not None and at[-1] == "name":
                self._fault(at, f"another rule has the name `{label}`; write a name of its own")
            elif rule in self.found:
                return
            rule = Rule(f"{label} ({times})", name, arguments, scope)
        self.found.append(rule)

    def _fault(self, at: Pointer, message: str, *, key: bool = False) -> None:
        if self._inside is not None:
            at, message, key = self._inside[0], f"{self._inside[1]}: {message}", False
        mark = self._document.key(at) if key else self._document.at(at)
        self.faults.append(Fault(mark, message, _INVALID))


def _share(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1


def _bounds(options: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {ours: options[theirs] for ours, theirs in names.items() if theirs in options}


_Made = tuple[str, dict[str, Any]] | None


def _unsupported(entry: Mapping[str, Any], column: str | None) -> _Made:  # noqa: ARG001
    return None


def _none_at_all(entry: Mapping[str, Any]) -> bool:
    return entry.get("mustBe") == 0 and not isinstance(entry.get("mustBe"), bool)


def _null_values(entry: Mapping[str, Any], column: str | None) -> _Made:
    if column is None or not _none_at_all(entry):
        return None
    return "expect_column_values_to_not_be_null", {"column": column}


def _duplicate_values(entry: Mapping[str, Any], column: str | None) -> _Made:
    if not _none_at_all(entry):
        return None
    if column is not None:
        return "expect_column_values_to_be_unique", {"column": column}
    columns = entries(mapping(entry, "arguments"), "properties")
    return ("expect_compound_columns_to_be_unique", {"column_list": columns}) if columns else None


def _invalid_values(entry: Mapping[str, Any], column: str | None) -> _Made:
    if column is None or not _none_at_all(entry):
        return None
    arguments = mapping(entry, "arguments")
    if choices := entries(arguments, "validValues"):
        return "expect_column_values_to_be_in_set", {"column": column, "value_set": choices}
    if pattern := text(arguments, "pattern"):
        return "expect_column_values_to_match_regex", {"column": column, "regex": pattern}
    return None


def _row_count(entry: Mapping[str, Any], column: str | None) -> _Made:  # noqa: ARG001
    between = "expect_table_row_count_to_be_between"
    pair = entry.get("mustBeBetween")
    if isinstance(pair, list) and len(pair) == 2:
        return between, {"min_value": pair[0], "max_value": pair[1]}
    for said, arguments in (
        ("mustBeGreaterThan", ("min_value", "strict_min")),
        ("mustBeGreaterOrEqualTo", ("min_value", None)),
        ("mustBeLessThan", ("max_value", "strict_max")),
        ("mustBeLessOrEqualTo", ("max_value", None)),
    ):
        if said in entry:
            bound, strict = arguments
            return between, {bound: entry[said], **({strict: True} if strict else {})}
    if isinstance(entry.get("mustBe"), int) and not isinstance(entry.get("mustBe"), bool):
        return "expect_table_row_count_to_equal", {"value": entry["mustBe"]}
    return None


_METRICS: Final[dict[str, Callable[[Mapping[str, Any], str | None], _Made]]] = {
    "nullValues": _null_values,
    "duplicateValues": _duplicate_values,
    "invalidValues": _invalid_values,
    "rowCount": _row_count,
}
