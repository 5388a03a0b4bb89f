"""Storage listed and held against the log: what lies there that no evidence accounts for.

In the datasets' own root a file is known when evidence names its path, or the register of residues its kind.
In every other place nothing is known: a file is a *copy* when its bytes are those of a file that evidence names, holds
*wrapped keys* when it has the ids of keys that an erasure destroyed beside sealed keys, and is *unaccounted* otherwise.
What lies in no listed place is not known to anybody.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from governance.errors import GovernanceError, StorageError
from governance.lineage.index.index import genesis_evidence_key
from governance.lineage.signatures import Observed, RunKeys, verify_evidence
from governance.log import Log
from governance.model.canonical import timestamp
from governance.model.evidence import Stage
from governance.model.signed_leaf import signed_leaf
from governance.model.statements import INVENTORY
from governance.pipeline.pointer import released_manifest
from governance.pipeline.workspace import OPERATOR, Workspace
from governance.protect.segment import SEGMENTS
from governance.rights.residues import residue_of
from governance.storage import Storage, storage_for

KNOWN, COPY, WRAPPED, UNACCOUNTED = "known", "copies", "wrapped_keys", "unaccounted"

_MARKS = tuple(f'"governance_{stage}"'.encode() for stage in ("open", "protect", "release", "erasure"))
_SEALED = (
    b"SQLite format 3\x00", b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83", b"wrappedDEK", b"wrappedKEK", b"PGDMP", b"COPY ",
    b"INSERT INTO",
)  # fmt: skip
"""What begins a SQLite file or its write-ahead log, where the newest keys may be alone, or stands in a dump."""

_SEGMENT = re.compile(rb"seg\.(?=([A-Za-z0-9_-]{1,200})\.)")
"""A key's id: the segment it is of, before its sensitivity."""

_PIECE, _OVERLAP = 8 << 20, 256
_CREDENTIALS = re.compile(r"(?<=://)[^/@]*@")


@dataclass(frozen=True, slots=True)
class Found:
    """A file that evidence does not account for. ``of`` is the dataset and version it is a copy of."""

    place: str
    path: str
    what: str
    of: tuple[str, str] | None = None


@dataclass(slots=True)
class Expected:
    """What the log says lies in storage: files of versions by dataset and path, and by digest; released versions, whose
    manifests name what an erasure wrote; destroyed segments with the requests that they were destroyed for."""

    files: set[tuple[str, str]] = field(default_factory=set)
    digests: dict[str, tuple[str, str]] = field(default_factory=dict)
    sizes: set[int] = field(default_factory=set)
    released: set[tuple[str, str]] = field(default_factory=set)
    protected: set[tuple[str, str]] = field(default_factory=set)
    destroyed: dict[str, set[str]] = field(default_factory=dict)

    def take(self, verdict: Observed) -> None:
        """Take in evidence of ``protect``, of a release or of an erasure's step."""
        if verdict.stage is Stage.ERASURE:
            if verdict.facts.get("state") == "destroyed":
                for segment in verdict.facts.get("doomed", ()):
                    self.destroyed.setdefault(str(segment), set()).update(verdict.context.get("requests", ()))
            return
        context = verdict.context
        dataset, version = str(context.get("dataset")), str(context.get("version"))
        if verdict.stage is Stage.RELEASE and verdict.facts.get("state") == "released":
            self.released.add((dataset, version))
        elif verdict.stage is Stage.PROTECT:
            self.protected.add((dataset, version))
        for segment in verdict.facts.get("segments") or ():
            for file in segment.get("files") or ():
                self.add(dataset, version, str(file["path"]), str(file["digest"]), int(file["size"]))

    def add(self, dataset: str, version: str, path: str, digest: str, size: int) -> None:
        """Expect a file."""
        self.files.add((dataset, path))
        self.digests.setdefault(digest, (dataset, version))
        self.sizes.add(size)


def expected_files(log: Log) -> Expected:
    """What observed evidence says, and nothing else."""
    key, keys, found = genesis_evidence_key(log), RunKeys(), Expected()
    for entry in log.entries():
        if entry.body is None or not any(mark in entry.body for mark in _MARKS):
            continue
        verdict = verify_evidence(entry, evidence_public_key=key, run_keys=keys)
        if not isinstance(verdict, Observed):
            continue
        if verdict.stage is Stage.OPEN:
            keys.admit(verdict)
        elif verdict.stage in (Stage.PROTECT, Stage.RELEASE, Stage.ERASURE):
            found.take(verdict)
    return found


def take_inventory(workspace: Workspace, places: Sequence[str] = ()) -> tuple[dict[str, Any], list[Found]]:
    """List the datasets' root and ``places``, and record in the log what was found there, by count.

    Args:
        places: storage URIs or directories in which nothing governed should lie.

    Returns:
        The leaf's body, and every file that is not accounted for. Names of files are not in the log.

    Raises:
        StorageError: GOV-724 when a place cannot be listed or is not there; nothing is recorded then.
    """
    size = workspace.log.size()
    expected = expected_files(workspace.log)
    for dataset, version in sorted(expected.released - expected.protected):
        # A manifest that is gone went with its version; one that was altered accounts for nothing.
        with contextlib.suppress(GovernanceError):
            for segment in released_manifest(workspace, dataset, version).segments:
                for file in segment.files:
                    expected.add(dataset, version, file.path, file.digest, file.size)
    own = workspace.settings.datasets
    counts = {_shown(own): Counter[str]()}
    found: list[Found] = []
    for each in _own(own, expected):
        counts[_shown(own)][each.what] += 1
        found += [each] if each.what != KNOWN else []
    for place in dict.fromkeys(places):
        tally = counts.setdefault(_shown(place), Counter())
        for each in _elsewhere(place, expected):
            tally[each.what] += 1
            found.append(each)
    said = {
        "v": 1,
        "taken_at": timestamp(workspace.clock()),
        "log_size": size,
        "places": [
            {"place": place, **{what: tally[what] for what in (KNOWN, COPY, WRAPPED, UNACCOUNTED)}}
            for place, tally in counts.items()
        ],
        "copies": _copies(found),
        "wrapped_keys": sorted({r for f in found if f.what == WRAPPED for r in _requests(f, expected)}),
    }
    body = signed_leaf(said, INVENTORY, workspace.keyring.evidence_signer)
    workspace.append_json(body, INVENTORY, OPERATOR)
    workspace.log.checkpoint()
    return body, found


def _own(root: str, expected: Expected) -> Iterator[Found]:
    storage = storage_for(root)
    for path in storage.list():
        dataset, _, inner = path.partition("/")
        if inner.startswith(f"{SEGMENTS}/"):
            known = (dataset, inner) in expected.files
        else:
            known = residue_of(f"datasets/{path}") is not None
        yield Found(_shown(root), path, KNOWN if known else UNACCOUNTED)


def _elsewhere(place: str, expected: Expected) -> Iterator[Found]:
    if "://" not in place and not Path(place.removeprefix("file:")).is_dir():
        raise StorageError("GOV-724", f"there is no directory {place}", "name a place that exists")
    storage = storage_for(place)
    for path in storage.list():
        seen = _seen(storage, path, expected.destroyed)
        of = expected.digests.get(seen.digest) if seen.size in expected.sizes else None
        if of is not None:
            yield Found(_shown(place), path, COPY, of)
        elif segment := seen.segment if seen.sealed else None:
            yield Found(_shown(place), path, WRAPPED, (segment, ""))
        else:
            yield Found(_shown(place), path, UNACCOUNTED)


@dataclass(slots=True)
class _Seen:
    """What was read of a file: ``segment`` is a destroyed one whose key ids stand in it, ``sealed`` whether it looks
    like a file of sealed keys."""

    size: int
    digest: str
    sealed: bool
    segment: str | None


def _seen(storage: Storage, path: str, destroyed: Container[str]) -> _Seen:
    """Read a file once, a piece at a time: a dump may be larger than memory.

    Raises:
        StorageError: GOV-724 when it cannot be read.
    """
    hasher, size, sealed, segment = hashlib.sha256(), 0, False, None
    try:
        # Without a word on compression PyArrow would unpack what is named .gz.
        with storage.filesystem().open_input_stream(storage.path(path), compression=None) as stream:
            before = b""
            while piece := stream.read(_PIECE):
                hasher.update(piece)
                size += len(piece)
                data = before + piece
                sealed = sealed or any(mark in data for mark in _SEALED)
                named = (match[1].decode("ascii", "replace") for match in _SEGMENT.finditer(data))
                segment = segment or next((name for name in named if name in destroyed), None)
                before = data[-_OVERLAP:]
    except OSError as error:
        raise StorageError(
            "GOV-724",
            f"a file cannot be read: {type(error).__name__}",
            "make every file of the place readable",
        ) from None
    return _Seen(size, f"sha256:{hasher.hexdigest()}", sealed, segment)


def _requests(found: Found, expected: Expected) -> set[str]:
    return expected.destroyed.get(found.of[0], set()) if found.of else set()


def _copies(found: Sequence[Found]) -> list[dict[str, Any]]:
    counted = Counter((f.place, *f.of) for f in found if f.what == COPY and f.of)
    names = ("place", "dataset", "version")
    return [{**dict(zip(names, of, strict=True)), "files": n} for of, n in sorted(counted.items())]


def _shown(place: str) -> str:
    """A place without credentials."""
    return _CREDENTIALS.sub("", place)


def lines(body: Mapping[str, Any], found: Sequence[Found]) -> Iterator[str]:
    """What the command prints."""
    for place in body["places"]:
        rest = ", ".join(f"{place[what]:,} {what.replace('_', ' ')}" for what in (COPY, WRAPPED, UNACCOUNTED))
        yield f"{place['place']}: {place[KNOWN]:,} known, {rest}"
    for each in found:
        of = f" of {'@'.join(filter(None, each.of))}" if each.of else ""
        yield f"  {each.what.replace('_', ' ')}{of}: {each.place}/{each.path}"
