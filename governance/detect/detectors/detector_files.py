"""Files of a team's detectors: read with their lines, strict and safe on hostile input.

Scalars are texts as written, so that an example such as ``no`` or ``0123`` means what it seems to;
only the fields that are numbers or switches by the schema are read as such.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from governance.detect.detectors.detector import INVALID
from governance.errors import ContractError, ContractFindings
from governance.model.canonical import digest
from governance.model.resources import schemas

Pointer: TypeAlias = tuple[str | int, ...]

MAXIMUM_BYTES = 1 << 20
_MAXIMUM_DEPTH = 12
_MAXIMUM_FAULTS = 50
_SUFFIXES = (".yaml", ".yml")
_NUMBERS = frozenset({"alone", "agree", "minimum", "score", "range"})
_SWITCHES = frozenset({"numbers", "redact"})
_REMEDY = "correct the line, then run `governance detect check` on the file"


@dataclass(frozen=True, slots=True, order=True)
class FileFault:
    """One thing to correct: ``line`` starts at 1, ``code`` is one of GOV-113 to GOV-115."""

    line: int
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class DetectorDocument:
    """A file as read. ``lines`` says where each value stands; ``faults`` are those of the schema."""

    path: Path
    digest: str
    root: dict[str, Any]
    lines: dict[Pointer, int]
    faults: tuple[FileFault, ...]

    def line(self, pointer: Pointer) -> int:
        """The line of a value, or of the nearest one around it."""
        while pointer and pointer not in self.lines:
            pointer = pointer[:-1]
        return self.lines.get(pointer, 1)


def detector_paths(stated: str | Path | Sequence[str | Path]) -> list[Path]:
    """The files that paths name: a folder stands for its YAML files by name.

    Raises:
        ContractError: GOV-113 for a path that is not there or a folder without such a file.
    """
    listed = [stated] if isinstance(stated, str | Path) else list(stated)
    found: list[Path] = []
    for path in map(Path, listed):
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix in _SUFFIXES and p.is_file())
            if not inside:
                raise ContractError(INVALID, f"{path}: holds no YAML file", "name a file of detectors")
            found += inside
        else:
            found.append(path)
    return list(dict.fromkeys(found))


def read_document(path: Path) -> DetectorDocument:
    """Read a file and hold it against ``schemas/detectors.schema.json``.

    Raises:
        ContractError: GOV-113 when it cannot be read, is larger than 1 MiB, is not UTF-8 or not YAML, nests
            too deep or holds an alias, a tag or a second document.
    """
    data = read_bytes(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise _unreadable(path, data.count(b"\n", 0, fault.start) + 1, "a byte is not UTF-8") from None
    lines: dict[Pointer, int] = {}
    faults: list[FileFault] = []
    try:
        root = _built(path, text, lines, faults)
    except yaml.YAMLError as fault:
        mark = getattr(fault, "problem_mark", None)
        problem = getattr(fault, "problem", None) or "it cannot be parsed"
        line = mark.line + 1 if mark is not None else 1
        raise _unreadable(path, line, f"this is not YAML: {problem}") from None
    if not isinstance(root, dict):
        raise _unreadable(path, 1, "there is no mapping such as `columns:` at the top")
    document = DetectorDocument(path, digest(data), root, lines, ())
    faults += _schema_faults(document)
    return DetectorDocument(path, document.digest, root, lines, tuple(sorted(faults)))


def read_bytes(path: Path) -> bytes:
    """The bytes of a small file. Raises GOV-113."""
    try:
        with path.open("rb") as file:
            data = file.read(MAXIMUM_BYTES + 1)
    except (OSError, ValueError) as fault:
        reason = getattr(fault, "strerror", None) or "the path is not valid"
        raise ContractError(
            INVALID, f"{path}: cannot be read: {reason}", "check the path of the file of detectors"
        ) from None
    if len(data) > MAXIMUM_BYTES:
        raise ContractError(INVALID, f"{path}: is larger than 1 MiB", "split the file or shorten its lists")
    return data


def refused(path: Path, faults: Sequence[FileFault]) -> ContractFindings:
    """All faults of a file in one error, in the order of its lines; the code is theirs where they share one."""
    codes = {fault.code for fault in faults}
    shared = codes.pop() if len(codes) == 1 else INVALID
    said = [
        f"{path}:{fault.line}: {fault.reason}" + ("" if fault.code == shared else f" [{fault.code}]")
        for fault in sorted(faults)[:_MAXIMUM_FAULTS]
    ]
    return ContractFindings(shared, str(path), said, _REMEDY)


def _unreadable(path: Path, line: int, reason: str) -> ContractError:
    return refused(path, [FileFault(line, INVALID, reason)])


def _built(path: Path, text: str, lines: dict[Pointer, int], faults: list[FileFault]) -> Any:
    """Plain values from parser events: no recursion, so that depth cannot exhaust the stack."""
    root: Any = None
    stack: list[tuple[Any, Pointer]] = []
    key: list[str | None] = []
    documents = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        line = event.start_mark.line + 1 if event.start_mark is not None else 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None) not in (None, "!"):
            raise _unreadable(path, line, "aliases and tags are not allowed; write the value out")
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _unreadable(path, line, "a second document begins; keep one in a file")
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            stack.pop()
            key.pop()
        elif isinstance(event, yaml.ScalarEvent | yaml.MappingStartEvent | yaml.SequenceStartEvent):
            inside = stack[-1] if stack else None
            if inside is not None and isinstance(inside[0], dict) and key[-1] is None:
                if not isinstance(event, yaml.ScalarEvent):
                    raise _unreadable(path, line, "a key must be a plain text")
                if event.value in inside[0]:
                    faults.append(FileFault(line, INVALID, f"`{event.value}` is written twice"))
                key[-1] = event.value
                lines[(*inside[1], event.value)] = line
                continue
            if len(stack) >= _MAXIMUM_DEPTH:
                raise _unreadable(path, line, f"nested deeper than {_MAXIMUM_DEPTH} levels")
            value: Any
            if isinstance(event, yaml.ScalarEvent):
                name = key[-1] if key else None
                name = str(inside[1][-1]) if inside and name is None and inside[1] else name
                value = _scalar(event.value, name, plain=not event.style)
            else:
                value = {} if isinstance(event, yaml.MappingStartEvent) else []
            pointer = _placed(inside, key, value)
            lines.setdefault(pointer, line)
            if root is None:
                root = value
            if not isinstance(event, yaml.ScalarEvent):
                stack.append((value, pointer))
                key.append(None)
    return root


def _placed(inside: tuple[Any, Pointer] | None, key: list[str | None], value: Any) -> Pointer:
    if inside is None:
        return ()
    holder, pointer = inside
    if isinstance(holder, dict):
        name = str(key[-1])
        holder[name] = value
        key[-1] = None
        return (*pointer, name)
    holder.append(value)
    return (*pointer, len(holder) - 1)


def _scalar(text: str, name: str | None, *, plain: bool) -> Any:
    if plain and name in _SWITCHES and text in ("true", "false"):
        return text == "true"
    if plain and name in _NUMBERS:
        try:
            return int(text) if text.lstrip("-").isdecimal() else float(text)
        except ValueError:
            return text
    return text


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads((schemas() / "detectors.schema.json").read_text("utf-8")))


def _schema_faults(document: DetectorDocument) -> Iterator[FileFault]:
    for error in _validator().iter_errors(document.root):
        pointer = tuple(error.absolute_path)
        for reason, where in _in_words(error, pointer):
            yield FileFault(document.line(where), INVALID, reason)


def _in_words(error: Any, pointer: Pointer) -> Iterator[tuple[str, Pointer]]:
    place = ".".join(str(part) for part in pointer) or "the file"
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = error.schema.get("properties", {})
        for name in error.instance.keys() - known.keys():
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"write one of {', '.join(known)}"
            yield f"{place}: `{name}` is not known; {hint}", (*pointer, name)
    elif error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        yield f"{place}: {', '.join(f'`{name}`' for name in missing)} is missing", pointer
    elif error.validator == "dependentRequired":
        yield f"{place}: `examples` is missing; the examples are the tests", pointer
    elif error.validator in ("anyOf", "oneOf"):
        choices = [", ".join(c["required"]) for c in error.validator_value if "required" in c]
        said = f"write one of {' or '.join(choices)}" if choices else "this does not fit the format"
        yield f"{place}: {said}", pointer
    elif error.validator == "enum":
        yield f"{place}: write one of {', '.join(map(str, error.validator_value))}", pointer
    else:
        yield f"{place}: {error.message[:200]}", pointer
