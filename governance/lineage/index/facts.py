"""What log entries say, as flat rows: one Arrow table for each table of the index.

Every row keeps the log index that brought it. Nothing is folded here: which of several rows counts
is a question of the reader and of ``as_of``, see :mod:`governance.lineage.index.projection`.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import msgspec
import pyarrow as pa

from governance.errors import LogError
from governance.lineage.index.correction_facts import correction_row
from governance.lineage.index.event_parts import EventParts, QuickReader, parts_of
from governance.lineage.index.facet_facts import encoded
from governance.lineage.index.rows import PageRows
from governance.lineage.index.schemas import PRUNE, REDACTION
from governance.lineage.index.token_facts import TOKEN_MEDIA_TYPES, token_row
from governance.lineage.naming import EVENT_MEDIA_TYPE, PREFIX
from governance.lineage.reading import ReadEvent, instant_of, mapping, read_event, text, unparsable
from governance.lineage.signatures import Declared, Observed, RunKeys, evidence_keys, verify_event
from governance.model.correction import CORRECTION
from governance.model.evidence import Stage

_STAGES = frozenset(stage.value for stage in Stage)


class Entry(Protocol):
    """A log entry, as :class:`governance.log.Entry` has it."""

    @property
    def index(self) -> int: ...

    @property
    def leaf(self) -> bytes: ...

    @property
    def body(self) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class BodilessEntry:
    """An entry whose body cannot be had now, and why."""

    index: int
    leaf: bytes
    fault: str
    body: None = None


class _Leaf(msgspec.Struct, gc=False):
    received_at: str
    principal: str
    media_type: str
    size: int


class FactReader:
    """Turns entries, in log order, into rows. Keeps the run keys that openings introduced.

    Args:
        evidence_public_key: the pinned evidence root key, 32 raw bytes; ``None`` observes nothing.
        run_keys: those of openings that were read before.
        next_id: the number that the next new facet or set of facets gets, from 1.
    """

    def __init__(
        self, evidence_public_key: bytes | None, run_keys: RunKeys | None = None, next_id: int = 1
    ) -> None:
        self.run_keys = RunKeys() if run_keys is None else run_keys
        self.next_id = next_id
        self.pruned: list[tuple[int, int]] = []
        """Ranges of entries, first and stop, whose archived bodies the entries read said were deleted."""
        self._root_key = evidence_public_key
        self._leaf = msgspec.json.Decoder(_Leaf).decode
        self._quick = QuickReader()
        self._received: tuple[str, datetime | None] = ("", None)

    def read(self, entries: Iterable[Entry]) -> Mapping[str, pa.Table]:
        """The rows of the next entries, by table; tables without rows are left out."""
        rows = PageRows(self.next_id)
        with _uncollected():
            for entry in entries:
                self._entry(rows, entry)
            self.next_id = rows.next_id
            tables = rows.tables()
            # A million values that the collector would walk as soon as it may.
            del rows
        return tables

    def _entry(self, rows: PageRows, entry: Entry) -> None:
        leaf, body = self._leaf(entry.leaf), entry.body
        if leaf.received_at != self._received[0]:
            received = instant_of(leaf.received_at)
            self._received = (leaf.received_at, received and received.replace(tzinfo=None))
        fault = getattr(entry, "fault", None) if body is None else self._body(rows, entry.index, body, leaf)
        row = (leaf.media_type, leaf.principal, self._received[1], leaf.size, body is None, fault)
        rows.plain("entry_rows", entry.index, *row)

    def forget(self) -> None:
        """Read no facet as known: rows that were handed over may be gone."""
        self._quick = QuickReader()

    def _body(self, rows: PageRows, index: int, body: bytes, leaf: _Leaf) -> str | None:
        """Adds what a body says; returns why it says nothing."""
        if leaf.media_type == EVENT_MEDIA_TYPE:
            event, basis = self._quick.read(body), "declared"
            evidence: Sequence[tuple[Any, ...]] = ()
            if event is None:
                try:
                    read = read_event(body)
                    event = _parts(read)
                except LogError as error:
                    return error.message
                basis, evidence = self._evidence(read, leaf.principal)
            rows.event(index, body, event, leaf.principal, self._received[1], basis, evidence)
        elif leaf.media_type in TOKEN_MEDIA_TYPES:
            if (token := token_row(body, leaf.media_type, leaf.principal)) is not None:
                rows.plain("token_facts", index, *token)
        elif leaf.media_type == CORRECTION:
            if (correction := correction_row(body, leaf.principal, index)) is not None:
                rows.plain("corrections", index, *correction)
        elif leaf.media_type == REDACTION:
            rows.plain("redactions", index, msgspec.json.decode(body)["index"])
        elif leaf.media_type == PRUNE:
            said = msgspec.json.decode(body)
            self.pruned.append((said["first"], said["stop"]))
        return None

    def _evidence(self, event: ReadEvent, principal: str) -> tuple[str, list[tuple[Any, ...]]]:
        keys = evidence_keys(event.body)
        if not keys:
            return "declared", []
        verdict = verify_event(
            event.body, principal=principal, root_key=self._root_key, run_keys=self.run_keys
        )
        if isinstance(verdict, Observed):
            self.run_keys.admit(verdict)
        reason = verdict.reason if isinstance(verdict, Declared) else None
        rows = []
        for key in keys:
            facet = mapping(event.body["run"]["facets"][key])
            context, stage = mapping(facet.get("context")), key.removeprefix(PREFIX)
            map_index = context.get("map_index")
            rows.append(
                (
                    stage if stage in _STAGES else None,
                    text(context.get("dataset")),
                    text(context.get("version")),
                    text(context.get("run_id")),
                    map_index if _is_int64(map_index) else None,
                    text(context.get("attempt")),
                    encoded(context),
                    encoded(facet.get("facts")),
                    verdict.basis,
                    reason,
                    principal,
                )
            )
        return verdict.basis, rows


@contextmanager
def _uncollected() -> Iterator[None]:
    """Rows hold no cycles, but walking them over and over costs the collector a third of all time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _parts(event: ReadEvent) -> EventParts:
    try:
        return parts_of(event)
    except RecursionError:
        raise unparsable("it is nested too deeply") from None


def _is_int64(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
