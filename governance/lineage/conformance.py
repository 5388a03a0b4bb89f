"""Whether an OpenLineage event conforms to the spec, and where not. Offline.

The rules are compiled from the event and facet classes that the installed `openlineage-python` ships
(``openlineage.client.generated``, made from the spec's JSON Schemas), so upgrading the client upgrades
the spec. The classes say which members there are, of which type, which are required, which format they
have and what else must hold; RFC 3339, 4122 and 3986 say what a format is. A test holds the verdicts equal
to those of the official JSON Schemas.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from enum import Enum
from functools import cache
from ipaddress import IPv6Address
from typing import Any

import attr

Faults = list[tuple[str, str]]
Check = Callable[[Any], Faults | None]
"""What is wrong with a value, as (path below it, fault); nothing when it conforms."""

_KEYS = {
    "SQLJobFacet": "sql",
    "ProcessingEngineRunFacet": "processing_engine",
    "DatasourceDatasetFacet": "dataSource",
    "DatasetVersionDatasetFacet": "version",
    "InputSubsetInputDatasetFacet": "subset",
    "OutputSubsetOutputDatasetFacet": "subset",
}
"""Keys of facets that do not follow from the class name; the spec says them in ``properties`` only."""

_GENERATED = "openlineage.client.generated"
_KINDS = ("RunFacet", "JobFacet", "DatasetFacet", "InputDatasetFacet", "OutputDatasetFacet")

_LEAST: Mapping[tuple[str, str], int] = {("EmissionPattern", "windowDuration"): 1}
_CLOSED = frozenset({"ExecutionParameter"})
"""What the spec's schemas demand and the client's classes do not express: least values, closed objects."""

_PCHAR = r"(?:[\w.~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"
_URI = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*:"
    r"(?://(?:(?:[\w.~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})*@)?"
    r"(?:\[(?P<ip>[0-9A-Fa-f:.]+)\]|\[[vV][0-9A-Fa-f]+\.[\w.~!$&'()*+,;=:-]+\]"
    r"|(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?"
    rf"(?:/{_PCHAR}*)*|/?(?:{_PCHAR}+(?:/{_PCHAR}*)*)?)"
    rf"(?:\?(?:{_PCHAR}|[/?])*)?(?:\#(?:{_PCHAR}|[/?])*)?",
    re.ASCII,
)
_INSTANT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9]|60)(?:\.[0-9]+)?"
    r"(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)
_UUID = re.compile(r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}")


def conformance(event: Any) -> list[str]:
    """What in a parsed event does not conform, each as ``path: fault``; empty when all does.

    The kind is told by the keys, as the spec's ``oneOf`` does: with ``run`` and ``job`` it is a RunEvent
    whatever else it has.
    """
    if not isinstance(event, dict):
        return ["$: is not an object"]
    checks = _compiled()
    try:
        if "dataset" in event and "run" not in event and "job" in event:
            # Both alternatives fit by their keys, and the spec demands that exactly one does.
            both = [checks["DatasetEvent"](event), checks["JobEvent"](event)]
            if both == [None, None]:
                return ["$: is a DatasetEvent and a JobEvent at once"]
            return [] if None in both else _shown(both[0])
        return _shown(checks[_kind(event)](event))
    except RecursionError:
        return ["$: is nested too deeply"]


def _kind(event: Mapping[str, Any]) -> str:
    if "dataset" in event and not ("run" in event and "job" in event):
        return "DatasetEvent"
    return "RunEvent" if "run" in event else "JobEvent"


def _shown(faults: Faults | None) -> list[str]:
    return [f"${path[:200]}: {fault}" for path, fault in faults or ()]


@cache
def facet_classes() -> Mapping[str, Mapping[str, type]]:
    """The client's facet classes by the base class of their place (``RunFacet``, …) and their key."""
    found: dict[str, dict[str, type]] = {kind: {} for kind in _KINDS}
    generated = importlib.import_module(_GENERATED)
    for info in pkgutil.iter_modules(generated.__path__, f"{_GENERATED}."):
        for cls in vars(importlib.import_module(info.name)).values():
            if isinstance(cls, type) and cls.__module__ == info.name:
                for kind in (base.__name__ for base in cls.__mro__[1:] if base.__name__ in _KINDS):
                    found[kind][_key(cls.__name__)] = cls
    # Producers also put the facets of inputs and outputs with the dataset's own (dbt its assertions).
    dataset = found["OutputDatasetFacet"] | found["InputDatasetFacet"] | found["DatasetFacet"]
    return found | {"DatasetFacet": dataset}


@cache
def _compiled() -> dict[str, Check]:
    base = importlib.import_module(f"{_GENERATED}.base")
    compiler = _Compiler()
    return {name: compiler.of(getattr(base, name)) for name in ("RunEvent", "JobEvent", "DatasetEvent")}


class _Compiler:
    """Makes one check a class; classes may refer to themselves."""

    def __init__(self) -> None:
        self._made: dict[type, Check] = {}

    def of(self, cls: type) -> Check:
        """The check of a class."""
        if cls not in self._made:
            self._made[cls] = lambda value: self._made[cls](value)
            self._made[cls] = self._class(cls)
        return self._made[cls]

    def _class(self, cls: type) -> Check:
        hints = typing.get_type_hints(cls)
        members: dict[str, Check] = {}
        required: list[str] = []
        rules: list[Check] = []
        for field in attr.fields(cls):
            hint = hints[field.name]
            if type(None) not in typing.get_args(hint):
                required.append(field.name)
            if hint is str and field.init and isinstance(field.default, str) and field.default:
                # The spec's `const` became a default.
                members[field.name] = _one_of(frozenset({field.default}))
            else:
                members[field.name] = self._hint(hint, cls, _validator_names(field))
            if (least := _LEAST.get((cls.__name__, field.name))) is not None:
                members[field.name] = _at_least(members[field.name], least)
            if rule := _further(field):
                rules.append(rule)
        return _object(members, required, rules, closed=cls.__name__ in _CLOSED)

    def _hint(self, hint: Any, owner: type, names: frozenset[str]) -> Check:
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin in (typing.Union, types.UnionType):
            options = [self._hint(a, owner, names) for a in arguments if a is not type(None)]
            return options[0] if len(options) == 1 else _exactly_one(options)
        if origin is typing.Literal:
            return _one_of(frozenset(arguments))
        if origin is list:
            return _array(self._hint(arguments[0], owner, frozenset()))
        if origin is dict:
            return self._map(arguments[1], owner)
        if hint is str:
            return _text(names)
        if isinstance(hint, type) and issubclass(hint, Enum):
            return _one_of(frozenset(member.value for member in hint))
        if isinstance(hint, type) and attr.has(hint):
            return self.of(hint)
        return _PLAIN[hint]

    def _map(self, value: Any, owner: type) -> Check:
        known: Mapping[str, type] = {}
        # Facets that a facet quotes (the parent's, the root's) are held to the base facet only.
        if isinstance(value, type) and owner.__module__ == f"{_GENERATED}.base":
            known = facet_classes().get(value.__name__, {})
        others = self._hint(value, owner, frozenset())
        return _object({key: self.of(cls) for key, cls in known.items()}, (), (), others=others)


def _key(class_name: str) -> str:
    stem = re.sub(r"((In|Out)putDataset|Dataset|Job|Run)Facet$", "", class_name)
    return _KEYS.get(class_name, stem[:1].lower() + stem[1:])


def _object(
    members: Mapping[str, Check],
    required: Iterable[str],
    rules: Iterable[Check],
    *,
    others: Check | None = None,
    closed: bool = False,
) -> Check:
    required, rules = tuple(required), tuple(rules)

    def check(value: Any) -> Faults | None:
        if not isinstance(value, dict):
            return [("", "is not an object")]
        faults: Faults = []
        for key in required:
            if key not in value:
                faults.append((f".{key}", "is missing"))
        for key, item in value.items():
            inner = members.get(key, others)
            if inner is None:
                if closed:
                    faults.append((f".{key}", "is not a member the spec knows"))
            elif below := inner(item):
                faults.extend((f".{key}{path}", fault) for path, fault in below)
        for rule in rules:
            faults.extend(rule(value) or ())
        return faults or None

    return check


def _array(item: Check) -> Check:
    def check(value: Any) -> Faults | None:
        if not isinstance(value, list):
            return [("", "is not an array")]
        faults: Faults = []
        for place, element in enumerate(value):
            if below := item(element):
                faults.extend((f"[{place}]{path}", fault) for path, fault in below)
        return faults or None

    return check


def _exactly_one(options: list[Check]) -> Check:
    def check(value: Any) -> Faults | None:
        found = [option(value) for option in options]
        fitting = sum(faults is None for faults in found)
        if fitting == 1:
            return None
        return [("", "fits no alternative" if not fitting else "fits several alternatives")]

    return check


def _one_of(allowed: frozenset[Any]) -> Check:
    named = ", ".join(sorted(map(str, allowed)))

    def check(value: Any) -> Faults | None:
        return None if isinstance(value, str) and value in allowed else [("", f"is none of {named}")]

    return check


def _at_least(inner: Check, least: int) -> Check:
    def check(value: Any) -> Faults | None:
        return inner(value) or ([("", f"is less than {least}")] if value < least else None)

    return check


def _text(names: frozenset[str]) -> Check:
    holds, what = next((form for parser, form in _FORMATS.items() if parser in names), (None, ""))

    def check(value: Any) -> Faults | None:
        if not isinstance(value, str):
            return [("", "is not a string")]
        return [("", f"is not {what}")] if holds is not None and not holds(value) else None

    return check


def is_uri(value: str) -> bool:
    """Whether it is a URI with a scheme (RFC 3986)."""
    matched = _URI.fullmatch(value)
    try:
        return matched is not None and (matched["ip"] is None or IPv6Address(matched["ip"]) is not None)
    except ValueError:
        return False


def is_instant(value: str) -> bool:
    """Whether it is a date and time with an offset (RFC 3339 §5.6)."""
    matched = _INSTANT.fullmatch(value)
    if matched is None:
        return False
    year, month, day, hour, minute = (int(matched[group]) for group in range(1, 6))
    try:
        # RFC 3339 has a year 0, which is a leap year; Python begins at 1.
        date(year or 4, month, day)
    except ValueError:
        return False
    if matched[6] != "60":
        return True
    offset = (int(matched[8]) * 60 + int(matched[9])) * (-1 if matched[7] == "-" else 1) if matched[7] else 0
    return (hour * 60 + minute - offset) % 1_440 == 1_439  # a leap second ends the last minute of a UTC day


def is_uuid(value: str) -> bool:
    """Whether it is a UUID in text form (RFC 4122 §3)."""
    return _UUID.fullmatch(value) is not None


_FORMATS: Mapping[str, tuple[Callable[[str], bool], str]] = {
    "isoparse": (is_instant, "a date and time with an offset (RFC 3339)"),
    "UUID": (is_uuid, "a UUID"),
    "urlparse": (is_uri, "a URI"),
}
"""The format of a member, told by what its validator in the client's class parses it with."""


def _validator_names(field: Any) -> frozenset[str]:
    return frozenset() if field.validator is None else frozenset(field.validator.__code__.co_names)


def _further(field: Any) -> Check | None:
    """What a class demands of a member in the light of the others, asked of the class itself."""
    if field.validator is None or _validator_names(field) & _FORMATS.keys():
        return None
    validator = field.validator

    def check(value: Any) -> Faults | None:
        if field.name not in value:
            return None
        try:
            validator(_Members(value), field, value[field.name])
        except ValueError as error:
            return [(f".{field.name}", str(error))]
        return None

    return check


class _Members:
    """An object's members as attributes; None for one that is not there, a mark for one that is null."""

    def __init__(self, value: Mapping[str, Any]) -> None:
        self._value = value

    def __getattr__(self, name: str) -> Any:
        return (self._value[name] or True) if name in self._value else None


def _plain(kind: str, holds: Callable[[Any], bool]) -> Check:
    def check(value: Any) -> Faults | None:
        return None if holds(value) else [("", f"is not {kind}")]

    return check


def _is_integer(value: Any) -> bool:
    # JSON Schema counts 1.0 as an integer.
    return (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, float) and value.is_integer()
    )


_PLAIN: Mapping[Any, Check] = {
    Any: lambda _value: None,
    bool: _plain("a boolean", lambda value: isinstance(value, bool)),
    int: _plain("an integer", _is_integer),
    float: _plain("a number", lambda value: isinstance(value, int | float) and not isinstance(value, bool)),
    dict: _plain("an object", lambda value: isinstance(value, dict)),
}
