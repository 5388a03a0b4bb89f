"""One question to the index: who asks, as of which log size, and how the answer is paged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from fastapi import Depends, Query, Request, Response

from governance.errors import AccessError
from governance.lineage.index.current import WITH_STATES
from governance.server.access import allow
from governance.server.marquez.visible import parsed, visible, visible_bound
from governance.server.served import ServedStore
from governance.server.tokens import Caller

Row = dict[str, Any]
Key = tuple[str, str]
"""Namespace and name."""

KEYS = "(SELECT unnest($namespaces::VARCHAR[]) AS namespace, unnest($names::VARCHAR[]) AS name) k"
"""A relation of the keys that :func:`columns_of` binds."""

_FACETS = f"""
    SELECT namespace, name, facet, body FROM facets SEMI JOIN {KEYS} USING (namespace, name)
    WHERE scope = $scope AND log_index < $as_of AND {{facets}}
    QUALIFY row_number() OVER (
        PARTITION BY namespace, name, facet, basis ORDER BY rank DESC, body DESC
    ) = 1 AND NOT deleted
    ORDER BY basis
"""


@dataclass(frozen=True, slots=True)
class Paging:
    """How many rows to answer with, after how many."""

    limit: int
    offset: int


class Asking:
    """Queries at one log size, within what the caller sees.

    ``jobs``, ``job_versions``, ``datasets``, ``dataset_versions`` and ``aliases`` name relations for :meth:`entities` and
    :meth:`page`: kept tables for the present, folded for a past log size.
    """

    def __init__(self, served: ServedStore, caller: Caller, as_of: int | None) -> None:
        self.caller = caller
        self._served = served
        self._index = served.fresh()
        self._current = served.current() if as_of is None else None
        self.present = as_of is None
        self._seen = visible_bound(caller)
        self.as_of = self._index.size if as_of is None else as_of
        past = not self.present
        self.jobs = f"({WITH_STATES})" if past else "jobs"
        self.job_versions = "job_versions_at($as_of)" if past else "job_versions"
        self.datasets = "datasets_at($as_of)" if past else "datasets"
        self.dataset_versions = "dataset_versions_at($as_of)" if past else "dataset_versions"
        self.aliases = "aliases_at($as_of)" if past else "aliases"

    def at(self, size: int) -> Asking:
        """The same question at a log size, if that is an earlier one."""
        return self if size >= self.as_of else Asking(self._served, self.caller, size)

    def rows(self, sql: str, **bound: Any) -> list[Row]:
        """Rows of one SELECT over facts; ``$as_of`` and the parameters of :meth:`visible` are bound."""
        return self._index.query(sql, self._bound(bound))

    def entities(self, sql: str, **bound: Any) -> list[Row]:
        """Rows of one SELECT over jobs and datasets, their versions, and aliases."""
        asked = self._index if self._current is None else self._current
        return asked.query(sql, self._bound(bound))

    def page(self, matching: str, order: str, paging: Paging, **bound: Any) -> tuple[int, list[Row]]:
        """How many entities ``matching`` has, and one page of them in ``order``."""
        return _page(self.entities, matching, order, paging, bound)

    def page_of_facts(self, matching: str, order: str, paging: Paging, **bound: Any) -> tuple[int, list[Row]]:
        """As :meth:`page`, over facts."""
        return _page(self.rows, matching, order, paging, bound)

    def facets(self, scope: str, keys: Iterable[Key], names: Sequence[str] = ()) -> dict[Key, Row]:
        """The present facets of jobs or datasets by key, parsed: observed goes before declared.

        ``names`` are those of this package, never a caller's text; empty means all facets.
        """
        wanted = list(dict.fromkeys(keys))
        if not wanted:
            rows = []
        elif self._current is not None:
            rows = self._current.facets(scope, wanted, names)
        else:
            # Constants: a scan skips what cannot be one of them, a list's values it looks up row by row.
            listed = ", ".join(f"'{name}'" for name in names)
            rows = self.rows(
                _FACETS.format(facets=f"facet IN ({listed})" if listed else "true"),
                scope=scope,
                **columns_of(wanted),
            )
        said: dict[Key, Row] = defaultdict(dict)
        # Producers repeat a facet for all that have it.
        bodies = {body: self.parsed(body) for body in {row["body"] for row in rows}}
        for row in rows:
            said[row["namespace"], row["name"]][row["facet"]] = bodies[row["body"]]
        return said

    def _bound(self, bound: Row) -> Row:
        return {"as_of": self.as_of, **self._seen, **bound}

    def visible(self, column: str = "namespace") -> str:
        """An SQL condition: the caller sees the namespace in ``column``."""
        return visible(self.caller, column)

    def parsed(self, body: str | bytes) -> Any:
        """JSON as it was sent, without objects of namespaces that the caller does not see."""
        return parsed(self.caller, body)

    def seen(self, listed: Iterable[Row]) -> list[Row]:
        """Those of the datasets, each with a namespace, that the caller sees."""
        return [dataset for dataset in listed if self.caller.sees(dataset["namespace"])]


def _page(
    ask: Callable[..., list[Row]], matching: str, order: str, paging: Paging, bound: Row
) -> tuple[int, list[Row]]:
    rows = ask(
        f"""
        WITH matching AS MATERIALIZED ({matching}),
        page AS (SELECT *, true AS shown FROM matching ORDER BY {order} LIMIT $limit OFFSET $offset)
        SELECT page.*, total_count
        FROM (SELECT count(*) AS total_count FROM matching) LEFT JOIN page ON true ORDER BY {order}
        """,
        limit=paging.limit,
        offset=paging.offset,
        **bound,
    )
    return rows[0]["total_count"], [row for row in rows if row["shown"]]


def answer(value: Any) -> Response:
    """A JSON answer. Handlers make it themselves, so that nothing walks through it once more."""
    return Response(msgspec.json.encode(value), media_type="application/json")


def asking(
    request: Request,
    caller: Annotated[Caller, Depends(allow("read"))],
    as_of: Annotated[int | None, Query(ge=0, le=2**63 - 1, description="a log size; all by default")] = None,
) -> Asking:
    """The question of a request.

    Raises:
        AccessError: GOV-610 or GOV-611 without a token that may read; GOV-613 when the log is smaller than
            ``as_of``.
    """
    served: ServedStore = request.app.state.served
    if as_of is not None and as_of > (size := served.fresh().size):
        raise malformed(f"as_of is {as_of} and the log holds {size} entries", "ask as of a size it has had")
    return Asking(served, caller, as_of)


def paging(
    limit: Annotated[int, Query(ge=0, le=10_000)] = 100,
    offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
) -> Paging:
    """Limit and offset of a list."""
    return Paging(limit, offset)


Asks = Annotated[Asking, Depends(asking)]
Pages = Annotated[Paging, Depends(paging)]


def among(keys: Iterable[Key], namespace: str = "namespace", name: str = "name") -> tuple[str, Row]:
    """An SQL condition, and its parameters, that a row is of one of the keys.

    Equality and IN with constants, because DuckDB pushes these into the macros and joins nowhere.
    """
    pairs = list(dict.fromkeys(keys))
    spaces = list(dict.fromkeys(space for space, _ in pairs))
    of_space, bound = any_of(namespace, spaces, "s")
    of_name, names = any_of(name, list(dict.fromkeys(of for _, of in pairs)), "n")
    condition, bound = f"({of_space} AND {of_name})", bound | names
    if len(spaces) > 1:
        whole = f"concat(strlen({namespace}), ':', {namespace}, {name})"
        condition = f"({condition} AND list_contains($whole, {whole}))"
        bound["whole"] = [f"{len(space.encode())}:{space}{of}" for space, of in pairs]
    return condition, bound


def columns_of(keys: Iterable[Key]) -> Row:
    """The parameters of :data:`KEYS`."""
    pairs = list(keys)
    return {"namespaces": [space for space, _ in pairs], "names": [name for _, name in pairs]}


def any_of(column: str, values: Sequence[Any], prefix: str) -> tuple[str, Row]:
    """An SQL condition, and its parameters, that a column has one of the values."""
    if not values:
        return "false", {}
    bound = {f"{prefix}_{i}": value for i, value in enumerate(values)}
    if len(values) == 1:
        return f"{column} = ${prefix}_0", bound
    return f"{column} IN ({', '.join(f'${name}' for name in bound)})", bound


def instant(value: datetime | None) -> str | None:
    """A naive UTC time of the index as ISO 8601."""
    return None if value is None else value.isoformat() + "Z"


def naive(value: datetime) -> datetime:
    """An aware time as the naive UTC of the index; one without a zone counts as UTC.

    Raises:
        AccessError: GOV-613 when it lies beyond the calendar.
    """
    if value.tzinfo is None:
        return value
    try:
        return value.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        raise malformed("a time lies beyond the calendar", "ask for a time of the years 1 to 9999") from None


def malformed(message: str, remedy: str) -> AccessError:
    """GOV-613: the request cannot be understood."""
    return AccessError("GOV-613", message, remedy)


def unknown(kind: str) -> AccessError:
    """GOV-612: there is none, or the caller does not see it; which of the two is not said."""
    return AccessError(
        "GOV-612",
        f"no such {kind} is known",
        "check its namespace and name, percent-encoded; and that the token sees the namespace",
    )
