"""JSON Schema faults in words: what is wrong at which line, and what to write instead."""

from __future__ import annotations

import importlib.resources
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

from governance.contracts.documents import Document, Pointer
from governance.contracts.faults import Fault, Mark, closest, did_you_mean, listed
from governance.model.resources import schemas

EXTENSION: Final = "contract-extension.schema.json"
POLICY: Final = "policy.schema.json"

_TYPES: Final = {
    "string": "a text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "empty",
}
_APPLICATORS: Final = {"anyOf", "oneOf"}


@cache
def schema(name: str) -> dict[str, Any]:
    """One of our schemas by file name."""
    loaded: dict[str, Any] = json.loads((schemas() / name).read_text("utf-8"))
    return loaded


@cache
def odcs_schema() -> dict[str, Any]:
    """The ODCS schema that the ``open-data-contract-standard`` package brings.

    Read as a resource: importing the package's model costs most of a second, and its own checks
    (:func:`governance.contracts.compiling.read_contract` runs them last) are weaker than its schema.
    """
    resource = importlib.resources.files("open_data_contract_standard") / "schema.json"
    loaded: dict[str, Any] = json.loads(resource.read_text("utf-8"))
    return loaded


@cache
def _validator(name: str, definition: str | None) -> Any:
    from jsonschema import validators

    whole = odcs_schema() if name == "odcs" else schema(name)
    part = whole if definition is None else {**whole, "$ref": f"#/$defs/{definition}"}
    if definition is not None:
        part = {key: part[key] for key in ("$schema", "$id", "$defs", "$ref")}
    return validators.validator_for(whole)(part)


def structural_faults(
    document: Document, pointer: Pointer, value: Any, name: str, code: str, definition: str | None = None
) -> list[Fault]:
    """Faults of ``value``, which stands at ``pointer``, against a schema or one of its ``$defs``; none if validated.

    Args:
        name: ``odcs``, or the file name of one of our schemas.
        code: the code the faults carry.
    """
    if document.validated:
        return []
    validator = _validator(name, definition)
    root = validator.schema
    faults: list[Fault] = []
    spurious: list[Any] = []
    for error in validator.iter_errors(value):
        said = list(_said(error, root, definition))
        if not said and error.validator == "unevaluatedProperties":
            spurious.append(error)
        faults += [Fault(_mark(document, pointer, place), message, code) for place, message in said]
    if not faults:
        # Where another fault stands, known properties go unevaluated because of it. Alone, they are
        # the fault: each is known to the standard and not beside what else is written there.
        for error in spurious:
            for word in re.findall(r"'([^']+)'", error.message):
                key = _Key((*error.absolute_path, word))
                message = f"`{word}` does not go with what stands beside it; remove one of them"
                faults.append(Fault(_mark(document, pointer, key), message, code))
    return faults


class _Key(tuple[str | int, ...]):
    """A pointer that means the key of an entry rather than its value."""


def _mark(document: Document, base: Pointer, place: Pointer) -> Mark:
    whole = (*base, *place)
    return document.key(whole) if isinstance(place, _Key) else document.at(whole)


def _said(error: Any, root: Mapping[str, Any], whole: str | None) -> Iterator[tuple[Pointer, str]]:
    path: Pointer = tuple(error.absolute_path)
    kind, wanted, found = error.validator, error.validator_value, error.instance
    where = _named(path, found, whole)
    if "propertyNames" in error.relative_schema_path:
        yield _Key((*path, str(found))), f"`{found}` is not a name here; write {_example(error.schema)}"
    elif kind in _APPLICATORS:
        yield from _branch(error, root, where, whole)
    elif kind in {"additionalProperties", "unevaluatedProperties"}:
        known = sorted(_property_names(error.schema, root))
        for unknown in sorted(set(found) - set(known)) if known else ():
            say = f"`{unknown}` is not known in {where}; {did_you_mean(unknown, known)}"
            yield _Key((*path, unknown)), say
    elif kind == "required":
        yield from _missing(error, root, path, where)
    else:
        yield path, f"{where} {_wrong(kind, wanted, found, error.schema)}"


def _wrong(kind: str, wanted: Any, found: Any, part: Any) -> str:
    """What is wrong with a single value, for the keywords of JSON Schema that judge one."""
    if kind == "type":
        if wanted == "boolean":
            return f"must be true or false, and is {_type_of(found)}; write `true` or `false`"
        if wanted == "string" and isinstance(found, bool | int | float):
            return f'must be a text, and is {_type_of(found)}; write it in quotes: "{_flow(found)}"'
        return f"must be {_types(wanted)}, and is {_type_of(found)}; write {_example(part)}"
    if kind == "enum":
        return f"cannot be {_quoted(found)}; {did_you_mean(str(found), [str(v) for v in wanted])}"
    if kind == "const":
        return f"cannot be {_quoted(found)}; write `{wanted}`"
    if kind == "pattern":
        return f"cannot be {_quoted(found)}; write {_example(part, f'text like {wanted}')}"
    if kind in {"minItems", "minProperties", "minLength"}:
        short = "is too short" if found else "is empty"
        return f"{short}; write {_example(part, 'at least one entry')}"
    if kind == "maxItems":
        return f"has more than {wanted} entries; remove the rest"
    if kind == "uniqueItems":
        return "names one entry twice; remove one"
    if kind in {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"}:
        side = "at least" if "min" in kind.lower() else "at most"
        return f"is out of range; write a number of {side} {wanted}"
    return f"does not fit the schema ({kind}); see the reference of contracts"


def _branch(
    error: Any, root: Mapping[str, Any], where: str, whole: str | None
) -> Iterator[tuple[Pointer, str]]:
    """Faults of the alternative the author most likely meant: the one that has the value's type."""
    if not error.context:  # oneOf with more than one match
        yield (
            tuple(error.absolute_path),
            f"{where} says things that exclude each other; keep one",
        )
        return
    branches: dict[Any, list[Any]] = {}
    for cause in error.context:
        branches.setdefault(cause.relative_schema_path[0], []).append(cause)
    fitting = [
        causes
        for causes in branches.values()
        if not any(c.validator == "type" and not c.relative_path for c in causes)
    ]
    if not fitting:
        wanted = [c.validator_value for c in error.context if c.validator == "type" and not c.relative_path]
        types = [t for value in wanted for t in ([value] if isinstance(value, str) else value)]
        yield tuple(error.absolute_path), f"{where} {_wrong('type', types, error.instance, error.schema)}"
        return
    if len(fitting) > 1 and all(c.validator == "required" for causes in fitting for c in causes):
        choices = [name for causes in fitting for c in causes for name in c.validator_value]
        yield tuple(error.absolute_path), f"{where} lacks its comparison; write one of {listed(choices)}"
        return
    for cause in min(fitting, key=len):
        yield from _said(cause, root, whole)


def _missing(error: Any, root: Mapping[str, Any], path: Pointer, where: str) -> Iterator[tuple[Pointer, str]]:
    named = re.match(r"'(.*?)' is a required property", error.message)
    missing = named[1] if named else str(error.validator_value[0])
    if missing == "map" and "logicalType" not in error.instance:
        return  # ODCS 3.2's schema asks for `map` wherever `logicalType` is absent; we ask for the type
    known = _property_names(error.schema, root)
    if any(closest(written, [missing]) for written in set(error.instance) - known):
        return  # it is there, misspelt, and reported as unknown
    inside = _resolved(_resolved(error.schema, root).get("properties", {}).get(missing, {}), root)
    yield path, f"{where} has no `{missing}`; write `{missing}: {_example(inside, '…').strip('`')}`"


def _property_names(part: Any, root: Mapping[str, Any]) -> set[str]:
    """Every property a schema knows of, through references and compositions."""
    if not isinstance(part, Mapping):
        return set()
    names = set(part.get("properties", ()))
    if "$ref" in part:
        names |= _property_names(_target(part["$ref"], root), root)
    for key in ("allOf", "anyOf", "oneOf"):
        for branch in part.get(key, ()):
            names |= _property_names(branch, root)
    for key in ("if", "then", "else"):
        names |= _property_names(part.get(key), root)
    return names


def _resolved(part: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**_target(part["$ref"], root), **part} if "$ref" in part else part


def _target(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = root
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found if isinstance(found, Mapping) else {}


def _named(path: Pointer, value: Any, whole: str | None) -> str:
    """What the reader sees on the line: the value's own ``name``, or the last name on the way."""
    if (
        path
        and isinstance(value, Mapping)
        and isinstance(value.get("name"), str)
        and len(value["name"]) <= 60
    ):
        return f"`{value['name']}`"
    if not path:
        return f"`{whole}`" if whole else "the file"
    if isinstance(path[-1], str):
        return f"`{path[-1]}`"
    owner = next((step for step in reversed(path) if isinstance(step, str)), None)
    return f"entry {path[-1] + 1} of `{owner}`" if owner else f"entry {path[-1] + 1}"


def _types(wanted: str | list[str]) -> str:
    names = [wanted] if isinstance(wanted, str) else list(dict.fromkeys(wanted))
    return " or ".join(_TYPES[name] for name in names)


def _type_of(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true or false"
    kinds: tuple[tuple[type, str], ...] = ((str, "a text"), (int | float, "a number"), (list, "a list"))  # type: ignore[assignment]
    return next((words for kind, words in kinds if isinstance(value, kind)), "a mapping")


def _quoted(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return f"`{text}`" if len(text) <= 60 else _type_of(value)


def _example(part: Any, otherwise: str | None = None) -> str:
    """A value that would do, from the schema: its examples, choices, default or, at last, type."""
    if isinstance(part, Mapping):
        for key in ("examples", "enum"):
            if part.get(key):
                return f"`{_flow(part[key][0])}`"
        for key in ("const", "default"):
            if key in part:
                return f"`{_flow(part[key])}`"
        if otherwise is None and "type" in part:
            return _types(part["type"])
    return otherwise or "another value"


def _flow(value: Any) -> str:
    """A value as YAML in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(v) for v in value) + "]"
    return json.dumps(value) if isinstance(value, bool) or value is None else str(value)
