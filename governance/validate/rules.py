"""From a quality rule to what can be executed; everything wrong with it is said before data is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from governance.errors import ValidationFindings
from governance.model.contract import Rule
from governance.validate.aggregates import Aggregate, DistinctValues, MostCommon, RowCount, SchemaCheck
from governance.validate.arguments import Uncompiled, near
from governance.validate.by_gx import BY_VALUE, OTHERS, ByGx
from governance.validate.columns import Unfit, normalized_type
from governance.validate.drift import DRIFT, DriftRule
from governance.validate.rowwise import RowCondition
from governance.validate.uniqueness import Unique
from governance.validate.vocabulary import COMPILED, REFUSED

_META = frozenset({"meta", "notes", "description", "severity", "id", "catch_exceptions", "result_format"})
_CONDITION = ("row_condition", "condition_parser")

Whole = Aggregate | DistinctValues | MostCommon | RowCount | SchemaCheck


@dataclass(frozen=True)
class Compiled:
    """``mostly`` is the share of considered rows that must hold; only for rules on rows."""

    rule: Rule
    check: RowCondition | Unique | Whole | ByGx
    mostly: float = 1.0

    @property
    def columns(self) -> tuple[str, ...]:
        if isinstance(self.check, Aggregate | DistinctValues | MostCommon):
            return (self.check.column,)
        return () if isinstance(self.check, RowCount | SchemaCheck) else self.check.columns

    @property
    def by_row(self) -> bool:
        if isinstance(self.check, ByGx):
            return self.check.by_row
        return not isinstance(self.check, Aggregate | DistinctValues | MostCommon | RowCount | SchemaCheck)


def expectations() -> dict[str, tuple[str, ...]]:
    """Names of the expectations that are compiled, each with its arguments."""
    return {name: each.arguments for name, each in sorted(COMPILED.items())}


def check(rules: Iterable[Rule], schema: pa.Schema | None = None) -> None:
    """Check rules before anything is read.

    Raises :class:`ValidationFindings` GOV-401 with every fault: unknown names with the nearest match,
    wrong arguments, and with a ``schema`` columns that are missing or of an unfit type.
    """
    compiled(rules, schema)


def by_part(rules: Iterable[Rule]) -> bool:
    """Whether each rule that holds of two parts of a version holds of both together."""
    listed = list(rules)
    return not any(rule.expectation == DRIFT for rule in listed) and all(
        each.by_row and not isinstance(each.check, Unique) for each in compiled(listed)
    )


def compiled(
    rules: Iterable[Rule], schema: pa.Schema | None = None, *, diverting: bool = False
) -> list[Compiled]:
    """Rules ready to run. ``diverting`` also refuses what cannot divert single rows."""
    faults: list[str] = []
    done: list[Compiled] = []
    for rule in rules:
        try:
            if rule.expectation == DRIFT:
                if diverting:
                    raise Unfit("it compares versions and cannot divert rows: use scope protected")
                DriftRule.of(rule, schema)
                continue
            each = _compiled(rule)
            if diverting:
                _require_diverting(each)
            if schema is not None:
                _bind(each, schema)
            done.append(each)
        except Unfit as fault:
            faults.append(f"rule {rule.name!r} ({rule.expectation}): {fault}")
    if faults:
        raise ValidationFindings(
            "GOV-401", "quality rules", faults, "correct the rules in the contract and run again"
        )
    return done


def types_of(schema: pa.Schema) -> dict[str, pa.DataType]:
    """Types of the normalized columns by name."""
    return {field.name: normalized_type(field.type) for field in schema}


def _compiled(rule: Rule) -> Compiled:
    given = dict(rule.arguments)
    meta = given.get("meta") or {}
    arguments = {name: value for name, value in given.items() if name not in _META and value is not None}
    if rule.expectation in OTHERS:
        return _by_gx(rule, arguments, by_row=False)
    if rule.expectation in BY_VALUE - COMPILED.keys():
        return _by_gx(rule, arguments, by_row=True)
    expectation = COMPILED.get(rule.expectation)
    if expectation is None:
        if why := REFUSED.get(rule.expectation):
            raise Unfit(why)
        raise Unfit(
            f"there is no such expectation here{near(rule.expectation, {*COMPILED, *BY_VALUE, *OTHERS})}"
        )
    if any(name in arguments for name in _CONDITION):
        _require_safe_condition(arguments)
        return _by_gx(rule, arguments, by_row=False)
    known = expectation.arguments
    for name in arguments:
        if name not in known:
            raise Unfit(f"it has no argument {name!r}{near(name, known)}")
    for name in expectation.required:
        if arguments.get(name) is None:
            raise Unfit(f"the argument {name!r} is missing")
    mostly = arguments.pop("mostly", None)
    mostly = 1.0 if mostly is None else mostly
    if isinstance(mostly, bool) or not isinstance(mostly, int | float) or not 0 <= mostly <= 1:
        raise Unfit("'mostly' is a number from 0 to 1")
    public = isinstance(meta, Mapping) and meta.get("observed_value") is True
    try:
        built = expectation.build({**arguments, **({"_public": public} if public else {})})
    except Uncompiled as why:
        if rule.expectation in BY_VALUE:
            return _by_gx(rule, {**arguments, "mostly": mostly}, by_row=True)
        raise Unfit(str(why)) from None
    return Compiled(rule, built, float(mostly))


def _by_gx(rule: Rule, arguments: Mapping[str, Any], *, by_row: bool) -> Compiled:
    mostly = arguments.get("mostly", 1.0)
    check = ByGx.of(rule, arguments, by_row=by_row)
    return Compiled(rule, check, float(mostly) if isinstance(mostly, int | float) else 1.0)


def _require_safe_condition(arguments: Mapping[str, Any]) -> None:
    parser = arguments.get("condition_parser", "great_expectations")
    if isinstance(arguments.get("row_condition"), str) and parser != "great_expectations":
        # pandas would evaluate the text as a program.
        raise Unfit(
            'a row_condition is read by condition_parser "great_expectations" only: write col("name") == 1'
        )


def _require_diverting(each: Compiled) -> None:
    if not each.by_row:
        raise Unfit("it judges a column or table as a whole and cannot divert rows: use scope protected")
    if each.mostly < 1:
        raise Unfit(
            "each failing row is diverted, so 'mostly' has no meaning: leave it out, or use scope protected"
        )


def _bind(each: Compiled, schema: pa.Schema) -> None:
    for name in each.columns:
        if schema.get_field_index(name) < 0:
            raise Unfit(f"there is no column {name!r}{near(name, schema.names)}")
    if isinstance(each.check, SchemaCheck) and each.check.column is not None:
        name = each.check.column
        if schema.get_field_index(name) < 0:
            raise Unfit(f"there is no column {name!r}{near(name, schema.names)}")
    each.check.check(types_of(schema))
