"""YAML files read with their places: a strict subset, safe on hostile input.

The scalars are those of YAML 1.2's core schema. What YAML 1.1 readers take for something else
(``no`` for false, ``0123`` for 83) is refused rather than guessed, because a contract is read by
other tools too. Aliases, tags, merge keys, duplicate keys and second documents are refused: an
alias is how a small file becomes a large one, the others hide what a reviewer should see.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

from governance.contracts.faults import Fault, Mark, closest, findings
from governance.errors import ContractError
from governance.model.canonical import digest

Pointer: TypeAlias = tuple[str | int, ...]

SYNTAX: Final = "GOV-101"
MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 32
MAX_NODES: Final = 100_000
MAX_FAULTS: Final = 50

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TEXT_TAGS: Final = {None, "!", "tag:yaml.org,2002:str"}
_AMBIGUOUS: Final = re.compile(r"(?i:yes|no|on|off)|[-+]?0[0-9]+")
_NULL: Final = re.compile(r"|~|null|Null|NULL")
_TRUE: Final = re.compile(r"true|True|TRUE")
_FALSE: Final = re.compile(r"false|False|FALSE")
_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_SAFE_INTEGER: Final = 2**53


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file. ``values`` and ``keys`` map a pointer to where the value, or its key, stands.

    ``validated`` are bytes that were held against the schemas before, as a run that pinned them did.
    """

    path: Path
    digest: str
    root: dict[str, Any]
    values: dict[Pointer, Mark] = field(repr=False)
    keys: dict[Pointer, Mark] = field(repr=False)
    validated: bool = False

    def at(self, pointer: Pointer) -> Mark:
        """Where the value stands, or the nearest value that encloses it."""
        return _nearest(self.values, pointer)

    def key(self, pointer: Pointer) -> Mark:
        """Where the key of a mapping entry stands, or the value when it has none."""
        return self.keys.get(pointer) or self.at(pointer)


def _nearest(marks: dict[Pointer, Mark], pointer: Pointer) -> Mark:
    while pointer and pointer not in marks:
        pointer = pointer[:-1]
    return marks.get(pointer, Mark(1, 1))


def read_document(
    path: Path, data: bytes | None = None, validated: str | None = None
) -> tuple[Document, list[Fault]]:
    """Read a file whose top level is a mapping.

    Args:
        data: what it holds, where it is in no local file.
        validated: the digest of bytes that were validated before.

    Returns:
        the document, and the faults that do not keep it from being read (duplicate keys, ambiguous
        scalars), for the caller to report with its own.

    Raises:
        ContractError: GOV-101 when the file cannot be opened, is larger than 1 MiB, is not UTF-8 or
            not YAML, holds an alias or is not a mapping; the message names line and column.
    """
    data = _bytes(path) if data is None else data
    text = _text(path, data)
    builder = _Builder(path)
    try:
        for event in _events(path, text):
            builder.take(event)
    except _Refused as refusal:
        raise findings(path, [*builder.faults, refusal.fault], SYNTAX) from None
    if not isinstance(builder.root, dict):
        what = "is empty" if builder.root is None else "holds no mapping at its top level"
        message = f"the file {what}; write `key: value` lines, beginning with `apiVersion:`"
        raise findings(path, [Fault(Mark(1, 1), message, SYNTAX)], SYNTAX)
    found = digest(data)
    return Document(
        path, found, builder.root, builder.values, builder.keys, found == validated
    ), builder.faults


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ContractError("GOV-101", f"{path}: there is no such file", _like(path)) from None
    except IsADirectoryError:
        raise ContractError("GOV-101", f"{path}: is a directory", "name the YAML file in it") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "the path is not valid"
        raise ContractError(
            "GOV-101", f"{path}: cannot be read: {reason}", "make the file readable"
        ) from None
    if len(data) > MAX_BYTES:
        raise ContractError(
            "GOV-101",
            f"{path}: is larger than {MAX_BYTES:,} bytes; a contract or policy is not",
            "name the contract file, not the data, or split the dataset",
        )
    return data


def _like(path: Path) -> str:
    try:
        names = [p.name for p in path.parent.iterdir() if p.suffix in {".yaml", ".yml"}][:1000]
    except OSError:
        return "check the folder and the name"
    near = closest(path.name, names)
    return f"did you mean {path.parent / near}?" if near else "check the folder and the name"


def _text(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        mark = Mark(before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1)
        fault = Fault(mark, "a byte here is not UTF-8; save the file in UTF-8", SYNTAX)
        raise findings(path, [fault], SYNTAX) from None


class _Refused(Exception):
    """What ends the reading: the text after it cannot be trusted to mean what it seems to."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def _events(path: Path, text: str) -> Iterator[yaml.events.Event]:
    try:
        yield from yaml.parse(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        raise findings(path, [_syntax(error, text)], SYNTAX) from None
    except ValueError:  # e.g. an escape beyond Unicode in a quoted scalar
        fault = Fault(Mark(1, 1), "an escape in a quoted text is not a character; remove it", SYNTAX)
        raise findings(path, [fault], SYNTAX) from None


_PROBLEMS: Final = (
    (
        "mapping values are not allowed",
        "a `:` cannot stand here; put the text in quotes, or align the key",
    ),
    ("could not find expected ':'", "a key without its value; write `key: value`"),
    (
        "did not find expected key",
        "the indentation does not fit the lines above; align it",
    ),
    ("expected <document start>", "the indentation does not fit the lines above; align it"),
    ("mapping keys are not allowed", "a text cannot begin with `?`; put it in quotes"),
    ("expected comment or line break", "text after `|` or `>`; write it on the next line, or in quotes"),
    ("expected node content", "a value is missing here; write one, in quotes if it begins with a sign"),
    ("block end", "the indentation does not fit the lines above; align it"),
    ("did not find expected '-'", "the indentation does not fit the list above; align its `-`"),
    (
        "did not find expected ',' or",
        "a bracket opened here is not closed; write `]` or `}`, or a comma",
    ),
    ("unexpected end of stream", "a quote opened here is never closed; close it"),
    ("unexpected document indicator", "a quote opened here is never closed; close it"),
    ("unknown escape character", "an unknown escape in double quotes; use single quotes for patterns"),
    ("cannot start any token", "a text cannot start with this character; put it in quotes"),
    ("control characters are not allowed", "a control character; remove it"),
    ("special characters are not allowed", "a control character; remove it"),
)
_AT_ITS_OPENING: Final = ("end of stream", "document indicator", "',' or")


def _syntax(error: yaml.YAMLError, text: str) -> Fault:
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be parsed")
    mark = getattr(error, "problem_mark", None)
    if any(sign in problem for sign in _AT_ITS_OPENING):
        mark = getattr(error, "context_mark", None) or mark
    if mark is not None:
        place = Mark(mark.line + 1, mark.column + 1)
    else:
        before = text[: getattr(error, "position", None) or 0]
        place = Mark(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
    lines = text.splitlines()
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return Fault(place, "a tab in the indentation; YAML allows spaces only, write spaces", SYNTAX)
    said = next((words for sign, words in _PROBLEMS if sign in problem), None)
    return Fault(place, said or f"this is not YAML ({problem}); correct the line", SYNTAX)


def _ambiguity(text: str) -> str:
    if text.isalpha():
        truth = "true" if text.lower() in ("yes", "on") else "false"
        return f'other YAML readers take a bare `{text}` for {truth}; write `{truth}`, or the text "{text}"'
    return f'other YAML readers take `{text}` for a number to base eight; write "{text}"'


@dataclass(slots=True)
class _Frame:
    """A mapping or sequence being filled. ``key`` is the pending key of a mapping."""

    value: dict[str, Any] | list[Any]
    pointer: Pointer
    key: str | None = None


class _Builder:
    """Builds plain values from parser events without recursion, so depth cannot exhaust the stack."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root: Any = None
        self.values: dict[Pointer, Mark] = {}
        self.keys: dict[Pointer, Mark] = {}
        self.faults: list[Fault] = []
        self._frames: list[_Frame] = []
        self._documents = 0
        self._nodes = 0

    def take(self, event: yaml.events.Event) -> None:
        start: Any = event.start_mark
        mark = Mark(start.line + 1, start.column + 1)
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise _Refused(Fault(mark, "a second document begins; keep one document in a file", SYNTAX))
        elif isinstance(event, yaml.AliasEvent):
            what = f"the alias `*{event.anchor}` is not allowed; write the value out"
            raise _Refused(Fault(mark, what, SYNTAX))
        elif isinstance(event, yaml.ScalarEvent):
            self._scalar(event, mark)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._open(event, mark)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._frames.pop()

    def _fault(self, mark: Mark, message: str) -> None:
        self.faults.append(Fault(mark, message, SYNTAX))
        if len(self.faults) >= MAX_FAULTS:
            raise _Refused(Fault(Mark(mark.line + 1, 1), "too many faults; the rest was not read", SYNTAX))

    def _open(self, event: Any, mark: Mark) -> None:
        if event.tag is not None:
            self._fault(mark, f"the tag `{event.tag}` is not allowed; remove it")
        if len(self._frames) >= MAX_DEPTH:
            raise _Refused(Fault(mark, f"nested deeper than {MAX_DEPTH} levels; flatten it", SYNTAX))
        frame = self._frames[-1] if self._frames else None
        if frame is not None and isinstance(frame.value, dict) and frame.key is None:
            raise _Refused(Fault(mark, "a key must be a plain text; write `key: value`", SYNTAX))
        value: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        pointer = self._place(value, mark)
        self._frames.append(_Frame(value, pointer))

    def _scalar(self, event: yaml.ScalarEvent, mark: Mark) -> None:
        frame = self._frames[-1] if self._frames else None
        if event.tag not in _TEXT_TAGS:
            self._fault(mark, f"the tag `{event.tag}` is not allowed; remove it")
        plain = event.style is None or event.style == ""
        plain = plain and event.tag is None
        if plain and _AMBIGUOUS.fullmatch(event.value):
            self._fault(mark, _ambiguity(event.value))
        if frame is not None and isinstance(frame.value, dict) and frame.key is None:
            self._key(frame, event.value, mark)
        else:
            self._place(self._resolved(event.value, mark) if plain else event.value, mark)

    def _key(self, frame: _Frame, key: str, mark: Mark) -> None:
        pointer = (*frame.pointer, key)
        if pointer in self.keys:
            first = self.keys[pointer]
            self._fault(mark, f"`{key}` is already written on line {first.line}; remove one of the two")
        elif key == "<<":
            self._fault(mark, "merge keys (`<<`) are not allowed; write the entries out")
        else:
            self.keys[pointer] = mark
        frame.key = key

    def _place(self, value: Any, mark: Mark) -> Pointer:
        pointer: Pointer = ()
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _Refused(Fault(mark, f"more than {MAX_NODES:,} values; split the file", SYNTAX))
        if not self._frames:
            self.root = value
        else:
            frame = self._frames[-1]
            if isinstance(frame.value, list):
                pointer = (*frame.pointer, len(frame.value))
                frame.value.append(value)
            else:
                key = frame.key or ""
                pointer = (*frame.pointer, key)
                frame.key = None
                frame.value.setdefault(key, value)
        self.values.setdefault(pointer, mark)
        return pointer

    def _resolved(self, text: str, mark: Mark) -> Any:
        if _NULL.fullmatch(text):
            return None
        if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
            return text[0] in "tT"
        if _INTEGER.fullmatch(text):
            number = int(text) if len(text) <= 17 else _SAFE_INTEGER + 1
            if abs(number) > _SAFE_INTEGER:
                self._fault(mark, "a number beyond ±2^53 is not exact in JSON; write it in quotes")
            return number
        if _FLOAT.fullmatch(text):
            value = float(text)
            if value in (float("inf"), float("-inf")):
                self._fault(mark, "this number is too large; write a smaller one")
                return 0.0
            return value
        if _NOT_FINITE.fullmatch(text):
            self._fault(mark, f"`{text}` is not a number in JSON; leave the entry out")
            return 0.0
        return text
