"""What log entries say, as flat rows: one Arrow table for each table of the index.

Every row keeps the log index that brought it. Nothing is folded here: which of several rows counts
is a question of the reader and of ``as_of``, see :mod:`governance.lineage.projection`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pyarrow as pa

from governance.errors import LogError
from governance.lineage.facet_facts import TOKEN_MEDIA_TYPES, column_inputs, lineage_rows, token_row
from governance.lineage.naming import EVENT_MEDIA_TYPE, PREFIX
from governance.lineage.reading import ReadEvent, instant_of, mapping, named, read_event, text
from governance.lineage.signatures import Declared, Observed, RunKeys, Verdict, evidence_keys, verify_event
from governance.model.evidence import Stage

FUTURE = timedelta(days=1)
"""An eventTime this much later than the log received it is not believed: it ranks last."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STAGES = frozenset(stage.value for stage in Stage)
_TIME = pa.timestamp("us")
_WHEN = [
    ("log_index", pa.int64()),
    ("digest", pa.string()),
    ("event_time", _TIME),
    ("future", pa.bool_()),
    ("received_at", _TIME),
    ("kind", pa.string()),
    ("rank", pa.decimal128(38, 0)),
]
_WHOSE = [("run_id", pa.string()), ("job_namespace", pa.string()), ("job_name", pa.string())]


def _schema(*fields: tuple[str, pa.DataType] | str) -> pa.Schema:
    return pa.schema([(f, pa.string()) if isinstance(f, str) else f for f in fields])


SCHEMAS: Mapping[str, pa.Schema] = {
    "entries": _schema(
        ("log_index", pa.int64()),
        "media_type",
        "principal",
        ("received_at", _TIME),
        ("size", pa.int64()),
        ("redacted", pa.bool_()),
        "fault",
    ),
    "events": _schema(
        *_WHEN,
        *_WHOSE,
        "event_type",
        "producer",
        "principal",
        "parent_run_id",
        "parent_job_namespace",
        "parent_job_name",
        "root_run_id",
        ("nominal_start", _TIME),
        ("nominal_end", _TIME),
        ("early", pa.decimal128(38, 0)),
        ("faults", pa.list_(pa.string())),
    ),
    "run_io": _schema(*_WHEN, *_WHOSE, "direction", "namespace", "name"),
    "facets": _schema(
        *_WHEN, *_WHOSE, "scope", "namespace", "name", "facet", "body", "basis", ("deleted", pa.bool_())
    ),
    "dataset_versions": _schema(*_WHEN, *_WHOSE, "direction", "namespace", "name", "version", "basis"),
    "column_edges": _schema(
        *_WHEN,
        *_WHOSE,
        "output_namespace",
        "output_name",
        "output_column",
        "input_namespace",
        "input_name",
        "input_column",
        "type",
        "transformation",
        "description",
        ("masking", pa.bool_()),
        "basis",
    ),
    "lineage": _schema(
        *_WHEN,
        *_WHOSE,
        "scope",
        "owner_namespace",
        "owner_name",
        "target_kind",
        "target_namespace",
        "target_name",
        "target_field",
        "source_kind",
        "source_namespace",
        "source_name",
        "source_field",
        "type",
        "transformation",
        "description",
        ("masking", pa.bool_()),
        "basis",
    ),
    "token_facts": _schema(
        ("log_index", pa.int64()),
        ("revocation", pa.bool_()),
        "token_id",
        "digest",
        "name",
        ("scopes", pa.list_(pa.string())),
        ("namespaces", pa.list_(pa.string())),
        ("expires_at", _TIME),
    ),
    "evidence": _schema(
        *_WHEN,
        *_WHOSE,
        "stage",
        "dataset",
        "version",
        "governed_run_id",
        ("map_index", pa.int64()),
        "attempt",
        "context",
        "facts",
        "basis",
        "reason",
        "principal",
    ),
}
"""Columns of each table. Times are UTC; ``basis`` is ``observed`` or ``declared``."""


class Entry(Protocol):
    """A log entry, as :class:`governance.log.Entry` has it."""

    @property
    def index(self) -> int: ...

    @property
    def leaf(self) -> bytes: ...

    @property
    def body(self) -> bytes | None: ...


class FactReader:
    """Turns entries, in log order, into rows. Keeps the run keys that openings introduced.

    Args:
        evidence_public_key: the pinned evidence root key, 32 raw bytes; ``None`` observes nothing.
    """

    def __init__(self, evidence_public_key: bytes | None) -> None:
        self._root_key = evidence_public_key
        self._run_keys = RunKeys()
        self._rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in SCHEMAS}

    def read(self, entries: Iterable[Entry]) -> Mapping[str, pa.Table]:
        """The rows of the next entries, by table."""
        for entry in entries:
            self._entry(entry)
        tables = {name: _table(rows, SCHEMAS[name]) for name, rows in self._rows.items()}
        for rows in self._rows.values():
            rows.clear()
        return tables

    def _entry(self, entry: Entry) -> None:
        leaf = json.loads(entry.leaf)
        received, fault = instant_of(leaf["received_at"]), None
        if entry.body is not None and leaf["media_type"] == EVENT_MEDIA_TYPE:
            try:
                event = read_event(entry.body)
            except LogError as error:
                fault = error.message
            else:
                self._event(entry.index, entry.body, event, leaf["principal"], received)
        elif entry.body is not None and leaf["media_type"] in TOKEN_MEDIA_TYPES:
            row = token_row(entry.body, leaf["media_type"], leaf["principal"])
            if row is not None:
                self._rows["token_facts"].append((entry.index, *row))
        self._rows["entries"].append(
            (
                entry.index,
                leaf["media_type"],
                leaf["principal"],
                _naive(received),
                leaf["size"],
                entry.body is None,
                fault,
            )
        )

    def _event(
        self, index: int, body: bytes, event: ReadEvent, principal: str, received: datetime | None
    ) -> None:
        future = event.time is not None and received is not None and event.time - received > FUTURE
        digest = hashlib.sha256(body).hexdigest()
        rank, early = ranks(event.time, future, digest)
        when = (index, digest, _naive(event.time), future, _naive(received), event.kind, rank)
        whose = (event.run_id, *(event.job or (None, None)))
        head = (*when, *whose)
        run_facets = mapping(mapping(event.body.get("run")).get("facets"))
        parent, nominal = mapping(run_facets.get("parent")), mapping(run_facets.get("nominalTime"))
        self._rows["events"].append(
            (
                *head,
                event.event_type,
                text(event.body.get("producer")),
                principal,
                text(mapping(parent.get("run")).get("runId")),
                *(named(parent.get("job")) or (None, None)),
                text(mapping(mapping(parent.get("root")).get("run")).get("runId")),
                _naive(instant_of(nominal.get("nominalStartTime"))),
                _naive(instant_of(nominal.get("nominalEndTime"))),
                early,
                list(event.faults),
            )
        )
        basis = self._evidence(head, event, principal)
        self._facets(head, "run", None, None, event.body.get("run"), "facets", "declared")
        if event.job:
            self._facets(head, "job", *event.job, event.body.get("job"), "facets", "declared")
        for member, direction in (("inputs", "input"), ("outputs", "output"), ("dataset", "static")):
            for namespace, name, dataset in event.datasets(member):
                self._rows["run_io"].append((*head, direction, namespace, name))
                self._facets(head, "dataset", namespace, name, dataset, "facets", basis)
                self._facets(head, direction, namespace, name, dataset, f"{direction}Facets", basis)
                self._version(head, direction, namespace, name, dataset, basis)
                self._columns(head, namespace, name, dataset, basis)

    def _evidence(self, head: tuple[Any, ...], event: ReadEvent, principal: str) -> str:
        keys = evidence_keys(event.body)
        if not keys:
            return "declared"
        verdict: Verdict = verify_event(
            event.body, principal=principal, root_key=self._root_key, run_keys=self._run_keys
        )
        if isinstance(verdict, Observed):
            self._run_keys.admit(verdict)
        for key in keys:
            facet = mapping(event.body["run"]["facets"][key])
            context = mapping(facet.get("context"))
            map_index = context.get("map_index")
            stage = key.removeprefix(PREFIX)
            self._rows["evidence"].append(
                (
                    *head,
                    stage if stage in _STAGES else None,
                    text(context.get("dataset")),
                    text(context.get("version")),
                    text(context.get("run_id")),
                    map_index if _is_int64(map_index) else None,
                    text(context.get("attempt")),
                    _json(context),
                    _json(facet.get("facts")),
                    verdict.basis,
                    verdict.reason if isinstance(verdict, Declared) else None,
                    principal,
                )
            )
        return verdict.basis

    def _facets(
        self,
        head: tuple[Any, ...],
        scope: str,
        namespace: str | None,
        name: str | None,
        owner: Any,
        member: str,
        basis: str,
    ) -> None:
        for key, facet in mapping(mapping(owner).get(member)).items():
            if scope == "run" and key.startswith(PREFIX):
                continue
            deleted = isinstance(facet, dict) and facet.get("_deleted") is True
            # Ours rank by log index: what was signed later counts, whatever time it claims.
            ranked = (*head[:6], head[0] << 64, *head[7:]) if key.startswith(PREFIX) else head
            self._rows["facets"].append((*ranked, scope, namespace, name, key, _json(facet), basis, deleted))
            if key == "lineage" and scope in ("job", "dataset") and not deleted:
                owner_rows = lineage_rows(scope, namespace, name, facet, head[8:10])
                self._rows["lineage"].extend((*head, *row, basis) for row in owner_rows)

    def _version(
        self, head: tuple[Any, ...], direction: str, namespace: str, name: str, dataset: Any, basis: str
    ) -> None:
        facet = mapping(mapping(dataset.get("facets")).get("version"))
        if version := text(facet.get("datasetVersion")):
            self._rows["dataset_versions"].append((*head, direction, namespace, name, version, basis))

    def _columns(self, head: tuple[Any, ...], namespace: str, name: str, dataset: Any, basis: str) -> None:
        facet = mapping(mapping(dataset.get("facets")).get("columnLineage"))
        rows = self._rows["column_edges"]
        for column, entry in mapping(facet.get("fields")).items():
            for edge in column_inputs(mapping(entry).get("inputFields"), mapping(entry)):
                rows.append((*head, namespace, name, column, *edge, basis))
        for edge in column_inputs(facet.get("dataset"), {}):
            rows.append((*head, namespace, name, None, *edge, basis))


def _table(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    return pa.Table.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )


def ranks(time: datetime | None, future: bool, digest: str) -> tuple[int, int]:
    """How an event ranks against others: the greatest is the latest, and the least the earliest.

    126 bits: whether its time is believed, the time, the first 64 bits of the body's digest.
    """
    micros = 0 if time is None else (time - _EPOCH) // timedelta(microseconds=1)
    trust = 1 if time is None else 0 if future else 2
    low = int(digest[:16], 16)
    return (((trust << 59) + micros + (1 << 57)) << 64) + low, (
        (((0, 1)[time is None] if not future else 2) << 59) + micros + (1 << 57) << 64
    ) + low


def _naive(instant: datetime | None) -> datetime | None:
    return None if instant is None else instant.replace(tzinfo=None)


# Facet bodies are compared as text, so members are sorted; one encoder, because making it is the cost.
_json = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


def _is_int64(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
