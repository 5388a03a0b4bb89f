"""The columns of the index's tables. Times are UTC; ``basis`` is ``observed`` or ``declared``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pyarrow as pa

PRUNE = "application/vnd.governance.prune+json"
REDACTION = "application/vnd.governance.redaction+json"
"""Entries by which bodies leave the log."""

TIME = pa.timestamp("us")
RANK = pa.decimal128(38, 0)

_INT, _BOOL, _LIST = pa.int64(), pa.bool_(), pa.list_(pa.string())


def _schema(*names: str, **types: pa.DataType) -> pa.Schema:
    return pa.schema([(name, types.get(name, pa.string())) for name in names])


_WHEN = ("log_index", "event_time", "future", "received_at", "kind", "rank")
_WHOSE = ("run_id", "job_namespace", "job_name")
EVENT = _schema(*_WHEN, *_WHOSE, log_index=_INT, event_time=TIME, future=_BOOL, received_at=TIME, rank=RANK)
"""What each row of a table below takes over from its event."""

OF_AN_EVENT: Mapping[str, pa.Schema] = {
    "mentions": _schema(
        *("direction", "namespace", "name", "basis", "set_id", "own_set_id"), set_id=_INT, own_set_id=_INT
    ),
    "dataset_versions": _schema("direction", "namespace", "name", "version", "basis"),
    "lineage": _schema(
        *("scope", "owner_namespace", "owner_name"),
        *("target_kind", "target_namespace", "target_name", "target_field"),
        *("source_kind", "source_namespace", "source_name", "source_field"),
        *("type", "transformation", "description", "masking", "basis"),
        masking=_BOOL,
    ),
    "evidence": _schema(
        *("stage", "dataset", "version", "governed_run_id", "map_index", "attempt"),
        *("context", "facts", "basis", "reason", "principal"),
        map_index=_INT,
    ),
}
"""Tables with several rows an event, without the columns of :data:`EVENT`."""

_EVENTS = _schema(
    *("digest", "event_type", "producer", "principal"),
    *("parent_run_id", "parent_job_namespace", "parent_job_name", "root_run_id"),
    *("nominal_start", "nominal_end", "faults", "run_set_id", "job_set_id", "early"),
    nominal_start=TIME,
    nominal_end=TIME,
    early=RANK,
    faults=_LIST,
    run_set_id=_INT,
    job_set_id=_INT,
)

BODIES: Mapping[str, pa.Schema] = {
    "facet_sets": _schema(
        *("set_id", "facet", "facet_id", "deleted", "ours"),
        set_id=_INT,
        facet_id=_INT,
        deleted=_BOOL,
        ours=_BOOL,
    ),
    "facet_bodies": _schema("facet_id", "body", facet_id=_INT),
    "facet_edges": _schema(
        *("facet_id", "output_column", "input_namespace", "input_name", "input_column"),
        *("type", "transformation", "description", "masking"),
        facet_id=_INT,
        masking=_BOOL,
    ),
}
"""Which facets an owner has, what each says and its column lineage. Producers repeat them; each is kept once."""

PLAIN: Mapping[str, pa.Schema] = {
    "entry_rows": _schema(
        *("log_index", "media_type", "principal", "received_at", "size", "missing", "fault"),
        log_index=_INT,
        received_at=TIME,
        size=_INT,
        missing=_BOOL,
    ),
    "redactions": _schema("log_index", "redacted", log_index=_INT, redacted=_INT),
    "token_facts": _schema(
        *("log_index", "revocation", "token_id", "digest", "name", "scopes", "namespaces", "expires_at"),
        log_index=_INT,
        revocation=_BOOL,
        scopes=_LIST,
        namespaces=_LIST,
        expires_at=TIME,
    ),
    "corrections": _schema(
        *("log_index", "principal", "namespace", "name", "field", "version", "body"), log_index=_INT
    ),
}
"""Tables that are not about events."""

SCHEMAS: Mapping[str, pa.Schema] = {
    **PLAIN,
    **BODIES,
    "events": pa.schema([*EVENT, *_EVENTS]),
    **{name: pa.schema([*EVENT, *schema]) for name, schema in OF_AN_EVENT.items()},
}
"""Every table. All but the bodies keep the ``log_index`` of the entry that brought a row."""

DERIVED: Mapping[str, pa.Schema] = {
    "run_io": pa.schema([*EVENT, *_schema("direction", "namespace", "name")]),
    "facet_rows": pa.schema(
        [
            *EVENT,
            *_schema(
                *("scope", "namespace", "name", "facet", "facet_id", "basis", "deleted"),
                facet_id=_INT,
                deleted=_BOOL,
            ),
        ]
    ),
}
"""Views that :data:`governance.lineage.index.projection.DERIVED` makes of the tables."""

VERSION = hashlib.sha256("\n".join(f"{n}: {s.to_string()}" for n, s in SCHEMAS.items()).encode()).hexdigest()
"""Changes when a table does: rows of another version are not read."""
