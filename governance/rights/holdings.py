"""Where the rows of subjects lie below a dataset root: released, earlier, loose and quarantined segments."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from governance.contracts import load_contract
from governance.errors import AccessError, GovernanceError, ProtectionError, StorageError
from governance.keys.vault.identifiers import distinct
from governance.model.contract import Contract
from governance.model.dataset import Manifest, Segment
from governance.pipeline.membership import segment_members, subject_columns
from governance.pipeline.pointer import released_chain, released_contract
from governance.pipeline.tombstones import ErasureRequest
from governance.pipeline.workspace import Workspace
from governance.protect.encryption import open_sealed
from governance.protect.outputs import QUARANTINE
from governance.protect.resegment import Mask, rows_matching
from governance.protect.segment import SEGMENTS
from governance.storage import Storage, storage_for

_DESTROYED = "GOV-303"


class Wanted:
    """Subjects of a domain, by the pseudonym that released rows carry and by suppression mark.

    ``parts`` are the domains and how many of each: several where rows name people of several (:meth:`several`).

    With their internal pseudonyms, segments whose membership index holds none of them are not read.
    """

    def __init__(
        self,
        domain: str,
        released: npt.NDArray[np.uint8],
        marks: npt.NDArray[np.uint8],
        internal: npt.NDArray[np.uint8] | None = None,
    ) -> None:
        self.parts: tuple[tuple[str, int], ...] = ((domain, len(released)),)
        self.count = len(released)
        self.internal = internal
        self._released = pa.array([row.tobytes().hex() for row in released], pa.string())
        self._marks = pa.array([row.tobytes() for row in marks], pa.binary(16))

    @classmethod
    def of(cls, requests: list[ErasureRequest], *, indexed: bool = False) -> Wanted:
        """The subjects of several requests of one domain; ``indexed``: membership indexes may be believed."""
        released = np.concatenate([request.released for request in requests])
        marks = np.concatenate([request.marks for request in requests])
        internal = np.concatenate([request.internal for request in requests]) if indexed else None
        return cls(requests[0].domain, released, marks, internal)

    @classmethod
    def several(cls, wanted: list[Wanted]) -> Wanted:
        """The subjects of several domains together, in this order."""
        if len(wanted) == 1:
            return wanted[0]
        together = cls("", np.empty((0, 16), np.uint8), np.empty((0, 16), np.uint8))
        together.parts = tuple(part for each in wanted for part in each.parts)
        together.count = sum(each.count for each in wanted)
        known = [each.internal for each in wanted if each.internal is not None]
        together.internal = np.concatenate(known) if len(known) == len(wanted) else None
        together._released = pa.concat_arrays([each._released for each in wanted])
        together._marks = pa.concat_arrays([each._marks for each in wanted])
        return together

    def split(self, mask: Mask) -> Iterator[tuple[str, Mask]]:
        """What a mask over all says of each domain."""
        start = 0
        for domain, count in self.parts:
            yield domain, mask[start : start + count]
            start += count

    @property
    def texts(self) -> list[str]:
        """The released pseudonyms, in hexadecimal digits."""
        texts: list[str] = self._released.to_pylist()
        return texts

    def places(self, pseudonyms: pa.Array) -> npt.NDArray[np.int64]:
        """Which subject each released row is of; −1 for any other."""
        rows = pseudonyms.dictionary_encode()
        known = pc.fill_null(pc.index_in(rows.dictionary.cast(pa.string()), self._released), -1)
        known = known.to_numpy(zero_copy_only=False).astype(np.int64)
        codes = pc.fill_null(rows.indices, -1).to_numpy(zero_copy_only=False)
        return np.asarray(np.append(known, -1)[codes], np.int64)

    def named(
        self,
        identifiers: pa.Array,
        marks: Callable[[str, pa.Array], npt.NDArray[np.uint8]],
        domains: Collection[str],
    ) -> npt.NDArray[np.int64]:
        """Which subject each identifier is of, or pseudonym in rows that a task derived; −1 for any other.

        Args:
            domains: whose identifiers they may be.
        """
        codes, unique = distinct(identifiers)
        found = self.places(identifiers)
        # A mark is of one domain: it meets nobody of another by the same identifier.
        for domain in [domain for domain, _ in self.parts if domain in domains]:
            own = pa.array([row.tobytes() for row in marks(domain, unique)], pa.binary(16))
            known = pc.fill_null(pc.index_in(own, self._marks), -1).to_numpy(zero_copy_only=False)
            named = np.append(known.astype(np.int64), -1)[codes]
            found = np.where(named >= 0, named, found)
        return found


@dataclass(slots=True)
class Holding:
    """What a dataset root holds of the wanted subjects.

    ``current`` are rows by segment of the released version; ``earlier`` segments of earlier versions, or of
    none, that hold rows, or of which that cannot be told; ``quarantine`` rows by quarantine segment.
    ``dead`` segments lie there although their keys are destroyed. ``subjects`` says of whom rows were found,
    ``versions`` which versions hold any.
    """

    dataset: str
    contract: Contract
    manifest: Manifest | None
    subjects: Mask
    current: dict[str, int] = field(default_factory=dict)
    earlier: set[str] = field(default_factory=set)
    quarantine: dict[str, int] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    versions: dict[str, bool] = field(default_factory=dict)
    rows_earlier: int = 0
    wanted: Wanted | None = None
    """Who was looked for in it: of those wanted, the ones of its domains."""
    domains: tuple[str, ...] = ()
    """Of whom rows may be here, by this contract or by an earlier one."""
    further: dict[str, frozenset[str]] = field(default_factory=dict)
    """Source columns that name people, by this contract or by an earlier version, and of which domains."""

    @property
    def any(self) -> bool:
        """Whether there is anything to rewrite or to destroy."""
        return bool(self.current or self.earlier or self.quarantine)

    def segments(self) -> list[Segment]:
        """The released segments that hold rows of the subjects."""
        listed = self.manifest.segments if self.manifest else ()
        return [segment for segment in listed if segment.segment_id in self.current]


def dataset_names(workspace: Workspace) -> list[str]:
    """Every dataset with a root."""
    listed = storage_for(workspace.settings.datasets).list()
    return sorted(
        {path.split("/")[0] for path in listed if path.count("/") == 1 and path.endswith("/root.json")}
    )


def find_rows(workspace: Workspace, dataset: str, wanted: dict[str, Wanted]) -> Holding | None:
    """Look through a dataset root for rows that name subjects of its domain, in whichever column of people.

    Memory is bounded by a batch. Every file of the released version that is read is verified; what cannot be
    read elsewhere, though its key lives, counts as holding rows. Where ``wanted`` allows it, a membership index
    spares reading a segment that holds none of them; the search after an erasure does not allow it.

    Returns:
        ``None`` when the dataset is of no domain in ``wanted``.

    Raises:
        StorageError: GOV-722, GOV-723 when the released version is not what was signed.
    """
    chain = released_chain(workspace, dataset)
    manifest = next(chain, None)
    storage = workspace.dataset_storage(dataset)
    contract = released_contract(workspace, manifest) if manifest else _opened_contract(storage)
    if contract is None:
        return None
    opened_with = list(_opened_with_others(storage))
    every = (*contract.subject.every_domain, *(d for each in opened_with for d in each.subject.every_domain))
    domains = tuple(dict.fromkeys(every))
    of = [wanted[domain] for domain in domains if domain in wanted]
    if not of:
        return None
    search = _Search(workspace, storage, contract, Wanted.several(of), domains)
    holding = Holding(dataset, contract, manifest, search.seen, wanted=search.wanted, domains=domains)
    for opened in opened_with:
        search.named_by(opened)
    known: dict[str, int | None] = {}
    rows: int | None
    for segment in manifest.segments if manifest else ():
        found = search.released(manifest, segment)
        known[segment.segment_id] = found
        if found:
            holding.current[segment.segment_id] = found
    if manifest is not None:
        holding.versions[manifest.version] = bool(holding.current)
    for earlier in _readable(chain):
        search.learn(earlier)
        for segment in earlier.segments:
            if segment.segment_id not in known:
                known[segment.segment_id] = rows = search.earlier(earlier, segment)
                _place(holding, segment.segment_id, rows)
        ids = {segment.segment_id for segment in earlier.segments}
        holding.versions[earlier.version] = bool(
            ids & (holding.earlier | holding.current.keys() | holding.dead)
        )
    holding.further = {name: frozenset(search.sources[name]) for name in sorted(search.sources)}
    for loose in sorted(_folders(storage, SEGMENTS) - known.keys()):
        _place(holding, loose, search.loose(f"{SEGMENTS}/{loose}"))
    for aside in sorted(_folders(storage, QUARANTINE)):
        if any(path.endswith(".parquet") for path in storage.list(f"{QUARANTINE}/{aside}")):
            rows = search.quarantined(f"{QUARANTINE}/{aside}")
            if rows == _DEAD:
                holding.dead.add(aside)
            elif rows != 0:
                holding.quarantine[aside] = rows or 0
    return holding


_DEAD = -1


def _readable(chain: Iterator[Manifest]) -> Iterator[Manifest]:
    """Earlier versions as far as their manifests are there; what others stand on is found as loose."""
    with contextlib.suppress(StorageError, AccessError):
        yield from chain


def _place(holding: Holding, segment: str, rows: int | None) -> None:
    if rows == _DEAD:
        holding.dead.add(segment)
    elif rows != 0:
        holding.earlier.add(segment)
        holding.rows_earlier += rows or 0


class _Search:
    """Rows are a count, :data:`_DEAD` where the key was destroyed, ``None`` where it cannot be told."""

    def __init__(
        self,
        workspace: Workspace,
        storage: Storage,
        contract: Contract,
        wanted: Wanted,
        domains: tuple[str, ...],
    ) -> None:
        self._workspace = workspace
        self._storage = storage
        self._contract = contract
        self.wanted = wanted
        self._domains = domains
        self.seen: Mask = np.zeros(wanted.count, bool)
        self.sources: dict[str, set[str]] = {}
        self._released: set[str] = set()
        self.named_by(contract)

    def named_by(self, contract: Contract) -> None:
        """What a contract's people stand in: in the source, and as released."""
        for name, domain in zip(contract.subject.columns, contract.subject.domains, strict=True):
            self.sources.setdefault(name, set()).add(domain)
        self._released |= set(contract.people)

    def learn(self, manifest: Manifest) -> None:
        """Columns of people that the present contract may no longer name: in the source, and as released."""
        for column in manifest.body["columns"]:
            if column["method"] == "pseudonym":
                # Of whom, only its contract tells.
                self.sources.setdefault(column["source_column"], set(self._domains))
                self._released.add(column["column"])

    def released(self, manifest: Manifest | None, segment: Segment) -> int:
        if manifest is None or self._without(segment):
            return 0
        return self._of_version(manifest, segment)

    def earlier(self, manifest: Manifest, segment: Segment) -> int | None:
        folder = f"{SEGMENTS}/{segment.segment_id}"
        if not self._storage.exists(folder) or self._without(segment):
            return 0
        # Its files are not compared with their digests: whatever is there, is searched.
        return self._sealed(folder, subject_columns(manifest), self._places)

    def _places(self, _name: str, pseudonyms: pa.Array) -> npt.NDArray[np.int64]:
        return self.wanted.places(pseudonyms)

    def _without(self, segment: Segment) -> bool:
        """Whether the segment's index says that it holds none of them; what cannot be asked, is read."""
        if self.wanted.internal is None:
            return False
        with contextlib.suppress(GovernanceError):
            members = segment_members(self._workspace, self._storage, segment)
            return members is not None and not members.contains(self.wanted.internal).any()
        return False

    def loose(self, folder: str) -> int | None:
        released = self._contract.column(self._contract.subject.source_name)
        columns = [released.name if released else ""]
        return self._sealed(folder, columns, self._places, self._released)

    def quarantined(self, folder: str) -> int | None:
        marks = self._workspace.vault.suppression_marks

        def named(name: str, identifiers: pa.Array) -> npt.NDArray[np.int64]:
            return self.wanted.named(identifiers, marks, self.sources[name])

        return self._sealed(folder, [self._contract.subject.source_name], named, self.sources.keys())

    def _of_version(self, manifest: Manifest, segment: Segment) -> int:
        columns = subject_columns(manifest)
        if not columns:
            return segment.rows
        return rows_matching(
            self._storage,
            self._workspace.keyring,
            manifest,
            segment,
            columns,
            lambda batch: self._matched(batch, self._places),
        )

    def _sealed(
        self,
        folder: str,
        columns: list[str],
        places: Callable[[str, pa.Array], npt.NDArray[np.int64]],
        further: Set[str] = frozenset(),
    ) -> int | None:
        rows = 0
        try:
            for batch in sealed_batches(self._storage, self._workspace, folder, columns or [""], further):
                rows += int(self._matched(batch, places).sum())
        except ProtectionError as fault:
            return _DEAD if fault.code == _DESTROYED else None
        except (GovernanceError, KeyError, OSError, pa.ArrowException):
            return None
        return rows

    def _matched(
        self, batch: pa.RecordBatch, places: Callable[[str, pa.Array], npt.NDArray[np.int64]]
    ) -> Mask:
        matched: Mask = np.zeros(batch.num_rows, bool)
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            found = places(name, column)
            self.seen[found[found >= 0]] = True
            matched |= found >= 0
        return matched


def sealed_batches(
    storage: Storage,
    workspace: Workspace,
    folder: str,
    columns: list[str] | None = None,
    further: Set[str] = frozenset(),
) -> Iterator[pa.RecordBatch]:
    """Rows of sealed files that no manifest lists; of ``further`` columns those that are there.

    Raises:
        ProtectionError: GOV-303 for a destroyed key, GOV-308 for what does not decrypt.
        KeyError: a column is not there. OSError: pages were altered.
    """
    for path in storage.list(folder):
        if not path.endswith(".parquet"):
            continue
        file = open_sealed(storage.path(path), storage.filesystem(), workspace.keyring.segment_key)
        with file:
            if missing := set(columns or ()) - set(file.schema_arrow.names):
                raise KeyError(*missing)
            there = sorted(further & set(file.schema_arrow.names))
            yield from file.iter_batches(columns=columns and list(dict.fromkeys([*columns, *there])))


def _folders(storage: Storage, top: str) -> set[str]:
    return {path.split("/")[1] for path in storage.list(top)}


def _opened_with_others(storage: Storage) -> Iterator[Contract]:
    """Each contract that a run was opened with, or released under, and that names further people."""
    seen: set[bytes] = set()
    for path in (*storage.list("staging"), *storage.list("versions")):
        if path.endswith("contract.odcs.yaml") and (data := storage.read(path)) not in seen:
            seen.add(data)
            if b"others" in data:
                yield load_contract(path, data=data)


def _opened_contract(storage: Storage) -> Contract | None:
    """The contract of any run that was opened, where nothing was released."""
    found: Any = [path for path in storage.list("staging") if path.endswith("/contract.odcs.yaml")]
    return load_contract(found[-1], data=storage.read(found[-1])) if found else None
