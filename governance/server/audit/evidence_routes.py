"""`/api/v1/audit`: what the log proves. Evidence, releases, disclosures, conformance, completeness, subjects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query

from governance.model.evidence import Stage
from governance.server.access import allow
from governance.server.answers import REFUSALS
from governance.server.asked import AsOf, Auditor, Reason, bounded, leave_trace
from governance.server.ingest.conformance_book import ConformanceBook, judge
from governance.server.served import ServedStore
from governance.server.tokens import Caller

Name = Annotated[str | None, Query(max_length=2_000)]
_SUBJECT_UNKNOWN = (
    "Evidence holds counts, digests and positions, never a subject or a pseudonym, so the log alone cannot say"
    " in which of the versions listed a subject is. The vault and the consent ledger of the governance home can:"
    " `governance consent explain`, and a scan of the version by its pseudonym.",
    "Pseudonyms differ by domain and recipient: the one asked for is not the one under which a recipient knows"
    " the subject.",
    "Bodies that were redacted, pruned or never sent are not searched.",
)


def router(served: ServedStore) -> APIRouter:
    """The routes about evidence. All need the scope `audit`."""
    routes = APIRouter(prefix="/api/v1/audit", tags=["audit"], responses=REFUSALS)
    book: ConformanceBook = served.conformance

    def stage(
        which: Stage | None, dataset: str | None, version: str | None, run_id: str | None, as_of: int | None
    ) -> dict[str, Any]:
        index = served.fresh()
        size = bounded(index, as_of)
        rows = index.evidence(stage=which and which.value, dataset=dataset, version=version, as_of=size)
        kept = [row for row in rows if run_id is None or run_id in (row["run_id"], row["governed_run_id"])]
        return {"as_of": size, "evidence": [_shown(row) for row in kept]}

    @routes.get("/evidence")
    def evidence(
        _: Auditor,
        dataset: Name = None,
        version: Name = None,
        run_id: Name = None,
        which: Annotated[Stage | None, Query(alias="stage")] = None,
        as_of: AsOf = None,
    ) -> dict[str, Any]:
        """What stages proved or claimed, in log order, by dataset, version, run and stage."""
        return stage(which, dataset, version, run_id, as_of)

    @routes.get("/releases")
    def releases(
        _: Auditor, dataset: Name = None, version: Name = None, as_of: AsOf = None
    ) -> dict[str, Any]:
        """Release evidence: what was intended, released or held back."""
        return stage(Stage.RELEASE, dataset, version, None, as_of)

    @routes.get("/disclosures")
    def disclosures(
        _: Auditor, dataset: Name = None, version: Name = None, as_of: AsOf = None
    ) -> dict[str, Any]:
        """Disclosure evidence: what left to whom, for which purpose."""
        return stage(Stage.DISCLOSE, dataset, version, None, as_of)

    @routes.get("/completeness")
    def completeness(
        caller: Annotated[Caller, Depends(allow("audit"))], as_of: AsOf = None, run_id: Name = None
    ) -> dict[str, Any]:
        """Per DAG run: the tasks that had to report an end, those that did, and what is missing."""
        index = served.fresh()
        size = bounded(index, as_of)
        runs = [
            asdict(run)
            for run in index.completeness(size)
            if caller.sees(run.job_namespace or "") and run_id in (None, run.run_id)
        ]
        return {"as_of": size, "runs": runs}

    @routes.get("/conformance")
    def conformance(
        _: Auditor,
        run_id: Name = None,
        producer: Name = None,
        after: Annotated[int, Query(ge=-1, le=2**62)] = -1,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
        as_of: AsOf = None,
    ) -> dict[str, Any]:
        """Events that do not conform to the OpenLineage spec, and where not; judged up to `judged`."""
        size = book.size if as_of is None else min(as_of, book.size)
        return {
            "judged": book.size,
            "as_of": size,
            "events": book.findings(size, after, limit, run_id, producer),
        }

    @routes.get("/conformance/producers")
    def producers(_: Auditor, as_of: AsOf = None) -> dict[str, Any]:
        """How many events each producer sent and how many do not conform, with their commonest faults."""
        size = book.size if as_of is None else min(as_of, book.size)
        return {"judged": book.size, "as_of": size, "producers": book.producers(size)}

    @routes.get("/conformance/entries/{index}")
    def judged(index: Annotated[int, Path(ge=0, le=2**62)], _: Auditor) -> dict[str, Any]:
        """One event judged now; `finding` is null for an entry that is no event, or was redacted."""
        return {"log_index": index, "finding": judge(served.log.entry(index))}

    @routes.get("/subjects/{pseudonym}")
    def subject(
        pseudonym: Annotated[str, Path(min_length=1, max_length=500)],
        caller: Auditor,
        reason: Reason = "",
        as_of: AsOf = None,
    ) -> dict[str, Any]:
        """What the log says of a pseudonym, where it may be, and what cannot be known from here.

        That you asked, and why, becomes an entry of the log.
        """
        trace = leave_trace(served, caller, {"kind": "subject", "pseudonym": pseudonym}, reason)
        index = served.fresh()
        size = min(bounded(index, as_of), trace)
        named = index.query(
            """
            SELECT log_index, 'facet' AS place, namespace, name, run_id, facet FROM facets
            WHERE log_index < $as_of AND contains(body, $pseudonym)
            UNION ALL
            SELECT log_index, 'evidence', job_namespace, dataset, run_id, stage FROM evidence
            WHERE log_index < $as_of AND (contains(facts, $pseudonym) OR contains(context, $pseudonym))
            ORDER BY ALL
            """,
            {"as_of": size, "pseudonym": pseudonym},
        )
        versions = [
            {"dataset": row["dataset"], "version": row["version"], "released_at": row["log_index"]}
            for row in index.evidence(stage=Stage.RELEASE.value, as_of=size)
            if row["basis"] == "observed" and row["facts"].get("state") == "released"
        ]
        shared = [_shown(row) for row in index.evidence(stage=Stage.DISCLOSE.value, as_of=size)]
        return {
            "as_of": size,
            "trace": trace,
            "named_in": named,
            "may_be_in": versions,
            "disclosures": shared,
            "unknown": _SUBJECT_UNKNOWN,
        }

    return routes


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of evidence as JSON: naive UTC times become instants."""
    return {
        key: f"{value.isoformat()}Z" if hasattr(value, "isoformat") else value
        for key, value in row.items()
        if key != "rank"
    }
