"""The bitemporal consent ledger: import, look, decide.

An import writes, in this order: the segment (fsync), a note that it is about to be recorded, its leaf
in the log, the head. Killed before the note, nothing happened; killed after it, the next import, or
:meth:`ConsentLedger.open` with ``record``, appends the same leaf again (the log knows it and answers
with the first index) and commits the head.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from governance.consent.actions import BACKDATED_AFTER, EVERY_PURPOSE, SEGMENT, STAMP
from governance.consent.explain import Explanation, explain
from governance.consent.heads import Batch, Heads, SqliteHeads
from governance.consent.heads_postgres import PostgresHeads
from governance.consent.imports import NewRecords, prepare, read_records
from governance.consent.joined import standings_by_join
from governance.consent.late import late_ordinals
from governance.consent.proof import keep_proof, sweep_proofs
from governance.consent.records import Population, SubjectRecords
from governance.consent.segments import read_segment, segment_parts, sweep, write_segment
from governance.consent.snapshot import ConsentSnapshot
from governance.consent.timeline import STANDINGS, RankedRecords, compile_timeline
from governance.consent.views import PublishedIndexes
from governance.durable import replace_file, sync
from governance.errors import ConsentError, SettingError
from governance.model.canonical import timestamp
from governance.model.policy import Purpose

Internal = Callable[[str, pa.Array], NDArray[np.uint8]]
"""From a subject domain and identifiers to internal pseudonyms, shape (n, 16)."""

Record = Callable[[dict[str, Any]], int]
"""Appends a batch's leaf, durably, and returns its log index; the same body gets the same index."""

_DECIDING = ("domain", "purpose", "action", "subject", "valid_from", "valid_to", "backdated", "defect")
_SQLITE = "ledger.sqlite"
_NAME = "ledger.name"
"""Holds the ledger's name among those of a database."""

_RECORDED = SEGMENT.append(pa.field("position", pa.int64())).append(pa.field("recorded_at", STAMP))


class ConsentLedger:
    """A directory of immutable segments, and the heads that order them.

    Any number of processes may read while one imports; imports wait for one another. The heads are a
    SQLite file in the directory, or tables of a PostgreSQL database.
    """

    def __init__(self, directory: Path, heads: Heads, *, publish: bool = True) -> None:
        self._segments = directory / "segments"
        self._proofs = directory / "proof"
        self._heads = heads
        self._salt = heads.check(directory)
        self._indexes = PublishedIndexes(directory / "index", heads, publish=publish)

    @classmethod
    def create(cls, directory: Path, *, postgres: str | None = None) -> ConsentLedger:
        """A new ledger without batches.

        Args:
            postgres: connection string of the database that is to hold the heads; else SQLite does.

        Raises:
            SettingError: GOV-901 when the directory already holds one.
        """
        path, named = directory / _SQLITE, directory / _NAME
        if path.exists() or named.exists():
            raise SettingError(
                "GOV-901", f"{directory} already holds a consent ledger", "open it, or name another directory"
            )
        (directory / "segments").mkdir(parents=True, exist_ok=True)
        sync(directory)
        if postgres is None:
            return cls(directory, SqliteHeads.create(path))
        heads = PostgresHeads(postgres, ledger=secrets.token_hex(16))
        heads.begin(heads.ledger)
        replace_file(named, heads.ledger.encode())
        return cls(directory, heads)

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        record: Record | None = None,
        postgres: str | None = None,
        publish: bool = True,
    ) -> ConsentLedger:
        """Open a ledger. With ``record``, an import that was killed on its way is completed first.

        Args:
            postgres: connection string of the database with the heads, if they are not in SQLite.
            publish: whether indexes that are compiled may be kept for others.

        Raises:
            ConsentError: GOV-203 when there is no ledger, or its heads cannot be read.
        """
        path, named = directory / _SQLITE, directory / _NAME
        if path.is_file():
            ledger = cls(directory, SqliteHeads(path), publish=publish)
        elif named.is_file() and postgres is not None:
            heads = PostgresHeads(postgres, ledger=named.read_text("ascii"))
            ledger = cls(directory, heads, publish=publish)
        else:
            raise ConsentError(
                "GOV-203",
                f"{directory} holds no consent ledger, or its heads are in a database that was not named",
                "create one, or name the directory it lies in and its database",
            )
        if record is not None and ledger.pending:
            with ledger._heads.alone():
                ledger._complete(record)
        return ledger

    @property
    def position(self) -> int:
        """How many batches there are; a run pins this number."""
        return self._heads.position()

    @property
    def pending(self) -> bool:
        """Whether an import was killed, or still runs, between its leaf and its head."""
        return self._heads.pending() is not None

    def batches(self) -> list[Batch]:
        """Every batch, oldest first."""
        return self._heads.batches()

    def import_file(
        self,
        path: Path,
        *,
        internal: Internal,
        record: Record,
        recorded_at: datetime,
        purposes: Collection[str] | None = None,
        backdated_after: timedelta = BACKDATED_AFTER,
        domain: str | None = None,
        custodian: bytes | None = None,
    ) -> Batch:
        """Take in a file whole, or refuse it whole.

        Records that are in the ledger already, by ``record_id`` and content, are counted and left out,
        so importing a file twice changes nothing.

        Args:
            path: CSV, Parquet, JSON, JSON Lines or JSON-LD, also with ``.gz``.
            internal: may make new subjects; called only after every row was judged on its own.
            recorded_at: the present, from the caller's clock.
            purposes: the policy's purposes; ``None`` accepts any name.
            backdated_after: what the policy calls backdated; stored with each record.
            domain: of the subjects of ISO/IEC TS 27560 records that state none.
            custodian: X25519 public key; the file is kept sealed to it (:mod:`governance.consent.proof`).

        Raises:
            ConsentFindings: GOV-201 for faulty rows, GOV-202 for overlapping intervals; all at once.
            ConsentError: GOV-203 when an earlier segment was altered.
            LogError: from ``record``; the batch is then pending and completed by the next import.
        """
        if recorded_at.tzinfo is None:
            raise ValueError("recorded_at has no time zone")
        read = read_records(path, recorded_at=recorded_at, purposes=purposes, domain=domain)
        with self._heads.alone():
            self._complete(record)
            batches = self._heads.batches()
            # A clock that jumped back must not date a batch before one that runs have seen.
            recorded_at = max([recorded_at, *(batch.recorded_at for batch in batches[-1:])])
            earlier = (read_segment(self._segments, batch.segment) for batch in batches)
            new = prepare(
                read,
                path.name,
                earlier,
                internal=internal,
                salt=self._salt,
                backdated_after=backdated_after,
            )
            if not new.records.num_rows:
                nothing = self._body(read.digest, "", new, recorded_at, len(batches), backdated_after)
                return Batch.from_body(nothing, -1)
            segment = write_segment(self._segments, new.records)
            body = self._body(read.digest, segment, new, recorded_at, len(batches) + 1, backdated_after)
            if custodian is not None:
                body["proof"] = keep_proof(self._proofs, read.data, read.digest, custodian)
            self._heads.announce(body)
            return self._complete(record) or self._heads.batches()[-1]

    def snapshot(
        self,
        purpose: Purpose,
        domain: str,
        instant: datetime,
        position: int,
        population: NDArray[np.uint8],
    ) -> ConsentSnapshot:
        """What the ledger says at ``instant`` by what was recorded up to ``position``.

        Args:
            population: internal pseudonyms in ordinal order, uint8 of shape (n, 16).

        Raises:
            ConsentError: GOV-203 when the position is not there or a segment was altered.
        """
        batches = self._upto(position)
        standings, backdated = self._indexes.standings(
            (domain, purpose.name),
            position,
            Population(population),
            microseconds(instant),
            lambda after: self._seen(purpose.name, domain, after, position),
            batches,
        )
        return ConsentSnapshot(purpose, standings, backdated)

    def standings_by_join(
        self,
        purpose: str,
        domain: str,
        instant: datetime,
        position: int,
        subjects: Callable[[], pa.RecordBatchReader],
        rows: int,
    ) -> NDArray[np.uint8]:
        """The standing of each row without an index or ordinals, for :class:`ConsentSnapshot`.

        Args:
            subjects: ``number`` (int64, below ``rows``) and ``subject`` (16 bytes); read several times.

        Raises:
            ConsentError: GOV-203 as :meth:`snapshot`.
        """
        return standings_by_join(
            lambda: self._seen(purpose, domain, 0, position),
            self._upto(position),
            subjects,
            rows,
            microseconds(instant),
        )

    def late(
        self,
        purpose: Purpose,
        domain: str,
        instant: datetime,
        from_position: int,
        to_position: int,
        population: NDArray[np.uint8],
        *,
        opened_at: datetime | None = None,
        regimes: NDArray[np.uint8] | None = None,
        special_category: bool = False,
    ) -> NDArray[np.int64]:
        """Ordinals, ascending, whose decision turned from allowed to denied since a run opened.

        Before is the decision at ``opened_at`` by ``from_position``. After is the decision by
        ``to_position``, at ``opened_at`` and at ``instant``: denied at either is late, so a record
        that arrives later can take a permission away from an earlier moment and never give one.

        Args:
            instant: now, at publishing.
            opened_at: the run's instant; ``instant`` if not given.
            regimes: per ordinal the union of the regimes of its rows; if not given, a subject is late
                as soon as any one regime turns, whether or not it applies.

        Raises:
            ConsentError: GOV-203 as :meth:`snapshot`.
        """
        opened = instant if opened_at is None else opened_at
        before = self.snapshot(purpose, domain, opened, from_position, population)
        moments = {microseconds(opened): opened, microseconds(instant): instant}.values()
        after = [self.snapshot(purpose, domain, at, to_position, population) for at in moments]
        return late_ordinals(before, after, regimes, special_category, len(population))

    def explain(
        self, subject: bytes, purpose: Purpose, domain: str, instant: datetime, position: int
    ) -> Explanation:
        """Why one subject may or may not be processed: the records in view and the reasoning in words.

        Args:
            subject: the internal pseudonym, 16 bytes.

        Raises:
            ConsentError: GOV-203 as :meth:`snapshot`.
        """
        one = pa.scalar(subject, pa.binary(16))
        seen = [
            (table.filter(pc.equal(table["subject"], one)), batch)
            for table, batch in self._views(purpose.name, domain, 0, position, None)
        ]
        population = np.frombuffer(subject, dtype=np.uint8).reshape(1, 16)
        records, _ = SubjectRecords.gather(
            ((table, microseconds(batch.recorded_at)) for table, batch in seen), Population(population)
        )
        timeline = compile_timeline(RankedRecords.of(records))
        standing = STANDINGS[int(timeline.standings(microseconds(instant), 1)[0])]
        return explain(seen, standing, purpose, instant, position)

    def table(self, position: int) -> pa.Table:
        """Every record up to ``position`` with its batch's ``position`` and ``recorded_at``: for audits."""
        tables = [_RECORDED.empty_table()]
        for batch in self._upto(position):
            table = read_segment(self._segments, batch.segment)
            at = pa.array(np.full(table.num_rows, batch.position))
            recorded = pa.array(np.full(table.num_rows, microseconds(batch.recorded_at))).cast(STAMP)
            added = table.append_column("position", at).append_column("recorded_at", recorded)
            tables.append(added.cast(_RECORDED))
        return pa.concat_tables(tables)

    def _seen(self, purpose: str, domain: str, after: int, position: int) -> Iterator[tuple[pa.Table, int]]:
        for table, batch in self._views(purpose, domain, after, position, _DECIDING):
            yield table, microseconds(batch.recorded_at)

    def _views(
        self, purpose: str, domain: str, after: int, position: int, columns: Sequence[str] | None
    ) -> Iterator[tuple[pa.Table, Batch]]:
        """Records of a purpose and domain in the batches after one position and up to another."""
        for batch in self._upto(position)[after:]:
            for table in segment_parts(self._segments, batch.segment, columns):
                wanted = pc.and_(
                    _equals(table["domain"], domain), _equals(table["purpose"], purpose, EVERY_PURPOSE)
                )
                yield (table if pc.all(wanted).as_py() else table.filter(wanted)), batch

    def _upto(self, position: int) -> list[Batch]:
        batches = self._heads.batches()
        if not 0 <= position <= len(batches):
            raise ConsentError(
                "GOV-203",
                f"the consent ledger has {len(batches)} batches, position {position} does not exist",
                "name a position from 0 to the ledger's own, or restore the ledger if batches are missing",
            )
        return batches[:position]

    def _body(
        self,
        source: str,
        segment: str,
        new: NewRecords,
        recorded_at: datetime,
        position: int,
        backdated_after: timedelta,
    ) -> dict[str, Any]:
        return {
            "ledger": self._heads.ledger,
            "position": position,
            "segment": segment,
            "source": source,
            "recorded_at": timestamp(recorded_at),
            "rows": new.records.num_rows,
            "duplicates": new.duplicates,
            "backdated": int(pc.sum(new.records["backdated"]).as_py() or 0),
            "backdated_after_seconds": int(backdated_after.total_seconds()),
            "actions": new.actions,
            **({"opt_outs": new.opt_outs} if new.opt_outs else {}),
        }

    def _complete(self, record: Record) -> Batch | None:
        """Under the lock: record and commit what was announced; drop what was not."""
        body = self._heads.pending()
        if body is None:
            batches = self._heads.batches()
            sweep(self._segments, {batch.segment for batch in batches})
            self._indexes.sweep()
            sweep_proofs(self._proofs, {batch.source_digest for batch in batches})
            return None
        # A leaf must not promise a segment that is not there.
        read_segment(self._segments, body["segment"], ["record"])
        log_index = record(body)
        self._heads.commit(body, log_index)
        return Batch.from_body(body, log_index)


def _equals(column: pa.ChunkedArray, *values: str) -> pa.ChunkedArray:
    """Where a dictionary-encoded column is one of ``values``, without decoding it."""
    return pa.chunked_array(
        [
            pc.take(pc.is_in(chunk.dictionary, value_set=pa.array(values)), chunk.indices)
            for chunk in column.chunks
        ],
        pa.bool_(),
    )


def microseconds(instant: datetime) -> int:
    """Microseconds since 1970 in UTC, exactly."""
    if instant.tzinfo is None:
        raise ValueError("an instant without a time zone")
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
