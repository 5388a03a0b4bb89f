"""The search for erased subjects in every registered place. It finds none *in the listed places*, no more."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import re2

from governance.log import OPENLINEAGE_EVENT
from governance.pipeline.tombstones import ErasureRequest
from governance.pipeline.workspace import Workspace
from governance.rights.holdings import Wanted, dataset_names, find_rows
from governance.rights.residues import RESIDUES, How, residue_of
from governance.storage import storage_for

SHORTEST = 4
"""Identifiers with fewer characters are not looked for in text: they would be found everywhere."""

AUTHORISER = "rights:erasure"

_AT_ONCE = 500
_PSEUDONYM = re.compile(rb"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
_CHUNK = 8 << 20
_OVERLAP = 1 << 10


def search_rows(
    workspace: Workspace, wanted: Mapping[str, Wanted], held: Collection[str]
) -> list[dict[str, Any]]:
    """Rows in segments of every kind, but in datasets that a legal hold keeps."""
    found: dict[str, int] = {"segments": 0, "quarantine": 0}
    read = 0
    for dataset in dataset_names(workspace):
        holding = None if dataset in held else find_rows(workspace, dataset, dict(wanted))
        if holding is not None:
            read += 1
            found["segments"] += sum(holding.current.values()) + max(
                holding.rows_earlier, len(holding.earlier)
            )
            found["quarantine"] += max(sum(holding.quarantine.values()), len(holding.quarantine))
    segments, aside = (each for each in RESIDUES if each.how is How.ROWS)
    return [
        _place(segments.places[0], ["released pseudonym"], read, found["segments"]),
        _place(aside.places[0], ["identifier by its suppression mark"], read, found["quarantine"]),
    ]


def search_vault(
    workspace: Workspace, requests: Iterable[ErasureRequest], identifiers: Mapping[str, pa.Array]
) -> dict[str, Any]:
    """Records of subjects that are to lead nowhere, and identifiers that still lead to one."""
    found = read = 0
    held: dict[str, set[int]] = {}
    for request in requests:
        own = workspace.vault.internal(request.domain)[request.ordinals[~request.held]]
        found += int(own.any(axis=1).sum())
        read += len(own)
        held.setdefault(request.domain, set()).update(request.ordinals[request.held].tolist())
    for domain, values in identifiers.items():
        ordinals = workspace.vault.resolve(domain, values, create=False)
        found += len(set(ordinals[ordinals >= 0].tolist()) - held.get(domain, set()))
    looked_for = ["internal pseudonym", *(["identifier"] if identifiers else [])]
    [vault] = (each for each in RESIDUES if each.how is How.VAULT)
    lies = [place for place in vault.places if (workspace.settings.home / place).is_file()]
    return _place(lies[0], looked_for, read, found)


def search_text(
    workspace: Workspace, identifiers: Iterable[str], pseudonyms: Iterable[str], *, ground: str
) -> list[dict[str, Any]]:
    """Log bodies, outbox, staging, manifests and all else that is text, for identifiers and pseudonyms.

    Bodies of events from others that name a subject are redacted on ``ground``; what the pipeline itself
    signed is never altered, so a name in there stays found.

    Returns:
        A statement for each place.
    """
    names, hidden = [name for name in identifiers if len(name) >= SHORTEST], list(pseudonyms)
    given = {"identifier": names, "released pseudonym": hidden}
    looked_for = [what for what, texts in given.items() if texts]
    match = _Named(names, hidden)
    places = [_in_log(workspace, match, looked_for, ground)]
    if places[0]["redacted"]:
        shutil.rmtree(workspace.settings.home / "index", ignore_errors=True)
    read: dict[str, list[int]] = {each.places[0]: [0, 0] for each in RESIDUES if each.how is How.BYTES}
    for relative, chunks in _files(workspace):
        residue = residue_of(relative)
        if residue is not None and residue.how is How.BYTES:
            counted = read[residue.places[0]]
            counted[0] += 1
            counted[1] += any(match(chunk) for chunk in chunks)
    return [*places, *(_place(place, looked_for, files, hits) for place, (files, hits) in read.items())]


class _Named:
    """Whether bytes name a subject: by an identifier as a whole word, plain or as JSON escapes it, or a pseudonym."""

    def __init__(self, identifiers: list[str], pseudonyms: Iterable[str]) -> None:
        forms = sorted({form.encode() for text in identifiers for form in (text, *_escaped(text))})
        options = re2.Options()
        options.max_mem = 256 << 20
        options.encoding = re2.Options.Encoding.LATIN1
        options.log_errors = False
        self._patterns = [
            re2.compile(
                rb"(?:^|[^0-9A-Za-z])(?:" + b"|".join(map(re2.escape, part)) + rb")(?:$|[^0-9A-Za-z])",
                options,
            )
            for part in (forms[start : start + _AT_ONCE] for start in range(0, len(forms), _AT_ONCE))
        ]
        self._pseudonyms = {text.encode() for text in pseudonyms}

    def __call__(self, data: bytes) -> bool:
        if self._pseudonyms and not self._pseudonyms.isdisjoint(_PSEUDONYM.findall(data)):
            return True
        return any(pattern.search(data) for pattern in self._patterns)


def _escaped(text: str) -> tuple[str, str]:
    return json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]


def _in_log(workspace: Workspace, match: _Named, looked_for: list[str], ground: str) -> dict[str, Any]:
    log = workspace.log
    read = found = redacted = 0
    named = []
    for entry in log.entries():
        if entry.body is not None:
            read += 1
            if match(entry.body):
                named.append(entry)
    for entry in named:
        envelope = entry.envelope
        if envelope.media_type == OPENLINEAGE_EVENT and not envelope.principal.startswith("evidence:"):
            log.redact(entry.index, ground, AUTHORISER)
            redacted += 1
        else:
            found += 1
    if redacted:
        shutil.rmtree(workspace.readings, ignore_errors=True)
    store = next(each for each in RESIDUES if each.how is How.LOG)
    return {**_place(store.places[0], looked_for, read, found), "redacted": redacted}


def _files(workspace: Workspace) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Every file below the home and the datasets' root, as the register names it, in pieces that overlap."""
    home = workspace.settings.home
    for path in sorted(home.rglob("*")):
        relative = path.relative_to(home).as_posix()
        if path.is_file() and not relative.startswith("datasets/"):
            yield relative, _pieces(path)
    root = storage_for(workspace.settings.datasets)
    for relative in root.list():
        if not relative.endswith(".parquet"):
            yield f"datasets/{relative}", (root.read(name) for name in (relative,))


def _pieces(path: Path) -> Iterator[bytes]:
    tail = b""
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            yield tail + piece
            tail = piece[-_OVERLAP:]


def _place(place: str, looked_for: list[str], read: int, found: int) -> dict[str, Any]:
    return {"place": place, "searched_for": looked_for, "read": read, "found": int(np.int64(found))}
