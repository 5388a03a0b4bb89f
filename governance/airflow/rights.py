"""Operators of the rights of data subjects: consent records come in, erasures are planned and carried out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator

from governance.airflow.approval import triggered_by
from governance.airflow.operators import GovernedOperator

if TYPE_CHECKING:
    import pyarrow as pa
    from airflow.sdk import Context

    from governance.lineage.recorder import OpenLineageRecorder
    from governance.pipeline.workspace import Workspace


class ConsentSyncOperator(GovernedOperator):
    """Imports consent records. Records that the ledger has are known again, so a whole export may come each time.

    Args:
        source: a file, or a directory whose files are taken in the order of their names; a relative path is
            looked up in the home. Files whose name begins with ``_`` or ``.`` are left out.
        domain: of the subjects of ISO/IEC TS 27560 records that state none.
    """

    template_fields: Sequence[str] = ("source", "domain")
    ui_color = "#dcfce7"

    def __init__(self, *, source: str, domain: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.domain = domain

    def step(self, workspace: Workspace, _recorder: OpenLineageRecorder, _context: Context) -> dict[str, int]:
        """The ledger's ``position`` after it, ``rows`` that came and ``duplicates`` that it had.

        Raises:
            SourceError: GOV-701 when the source is not there. ConsentError: GOV-201, GOV-202 for a file's
                content; files before it stay imported.
        """
        from governance.errors import SourceError
        from governance.pipeline.ledger import import_consent

        path = workspace.settings.home / self.source
        if not path.exists():
            raise SourceError(
                "GOV-701",
                f"there are no consent records at {path.name}",
                "let the export write them first, or correct `source`",
            )
        files = [p for p in sorted(path.iterdir()) if p.is_file()] if path.is_dir() else [path]
        rows = duplicates = 0
        for file in files:
            if not file.name.startswith(("_", ".")):
                batch = import_consent(workspace, file, self.domain)
                rows, duplicates = rows + batch.rows, duplicates + batch.duplicates
        return {"position": workspace.ledger.position, "rows": rows, "duplicates": duplicates}


class PlanErasureOperator(GovernedOperator):
    """Looks where subjects are and returns the plan without telling who they are. Nothing is erased.

    Args:
        domain: whose identifiers they are, e.g. ``patient``.
        subjects: a file with one identifier a line; a relative path is looked up in the home. Identifiers
            never travel through Airflow.
    """

    template_fields: Sequence[str] = ("domain", "subjects")
    ui_color = "#fee2e2"

    def __init__(self, *, domain: str, subjects: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.domain = domain
        self.subjects = subjects

    def step(self, workspace: Workspace, _recorder: OpenLineageRecorder, _context: Context) -> dict[str, Any]:
        """``plan_digest``, to be approved, and the plan's counts.

        Raises:
            SourceError: GOV-701, GOV-704 for the file. What :func:`governance.rights.plan_erasure` raises.
        """
        from governance.rights import plan_erasure

        plan = plan_erasure(workspace, self.domain, _identifiers(workspace, self.subjects))
        return {"plan_digest": plan.digest, **plan.facts}


class ErasureApprovalOperator(GovernedOperator, ApprovalOperator):  # type: ignore[misc]
    """Asks the policy's approvers whether a planned erasure is right; never who started the run.

    Who approved which plan, and when, stands in the log.

    Args:
        plan: what :class:`PlanErasureOperator` returned.
    """

    template_fields: Sequence[str] = ("plan",)
    ui_color = "#fee2e2"

    def __init__(self, *, plan: Any, **kwargs: Any) -> None:
        super().__init__(subject="Erase data subjects", fail_on_reject=True, **kwargs)
        self.plan = plan

    def execute(self, context: Context) -> Any:
        workspace, _ = self.opened(context)
        self.assigned_users = [{"id": name, "name": name} for name in _may_approve(workspace, context)]
        held = ", ".join(str(row["dataset"]) for row in self.plan["datasets"]) or "no dataset"
        self.body = (
            f"{self.plan['subjects']:,} subjects of domain {self.plan['domain']} ({self.plan['unknown']:,} "
            f"unknown, {self.plan['held']:,} under a legal hold) in {held}; plan `{self.plan['plan_digest']}`."
        )
        return ApprovalOperator.execute(self, context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        from governance.errors import AccessError
        from governance.model.canonical import timestamp
        from governance.pipeline.workspace import PIPELINE

        answer = ApprovalOperator.execute_complete(self, context, event)
        workspace, _ = self.opened(context)
        user = event.get("responded_by_user") or {}
        approver = str(user.get("name") or user.get("id") or "")
        if approver not in _may_approve(workspace, context):
            raise AccessError(
                "GOV-646",
                "the erasure was answered by nobody who may approve it",
                "have one of the policy's approvers answer, not who started the run",
            )
        decided = {"plan_digest": self.plan["plan_digest"], "approver": approver}
        decided_at = timestamp(event["responded_at"])
        workspace.append_json(
            {**decided, "decided_at": decided_at, "by_way_of": "airflow"}, APPROVED, PIPELINE
        )
        return answer


APPROVED = "application/vnd.governance.erasure-approval+json"
"""The log's media type of who approved which plan of an erasure."""


def _may_approve(workspace: Workspace, context: Context) -> list[str]:
    """The policy's approvers without who started the run.

    Raises:
        AccessError: GOV-646 when that leaves nobody: Airflow would let everybody answer.
    """
    from governance.errors import AccessError

    starter = triggered_by(context)
    named = [name for name in workspace.policy.approvers if name != starter]
    if not named:
        raise AccessError(
            "GOV-646", "nobody may approve this erasure", "name another of the policy's `approvers`"
        )
    return named


class EraseOperator(GovernedOperator):
    """Erases subjects at once from all that is read through the framework. May be run again.

    Args:
        request: the number under which the request is filed; no personal data.
        domain: whose identifiers they are.
        subjects: a file with one identifier a line.
        ground: a code of :data:`governance.model.erasure.GROUNDS`.
        plan: what :class:`PlanErasureOperator` returned and was approved; where it is another by now, it is refused.
    """

    template_fields: Sequence[str] = ("request", "domain", "subjects", "ground", "plan")
    ui_color = "#fee2e2"

    def __init__(
        self, *, request: str, domain: str, subjects: str, ground: str, plan: Any, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.request = request
        self.domain = domain
        self.subjects = subjects
        self.ground = ground
        self.plan = plan

    def step(self, workspace: Workspace, recorder: OpenLineageRecorder, _context: Context) -> dict[str, str]:
        """The request's name.

        Raises:
            AccessError: GOV-605 when the plan is another by now, the ground unknown or the name taken.
            SourceError: GOV-701, GOV-704 for the file.
        """
        from governance.errors import AccessError
        from governance.model.erasure import GROUNDS
        from governance.rights import request_erasure

        if self.ground not in GROUNDS:
            raise AccessError(
                "GOV-605",
                "the ground of the erasure is unknown",
                f"write one of {', '.join(sorted(GROUNDS))}",
            )
        request_erasure(
            workspace,
            recorder,
            request=self.request,
            domain=self.domain,
            identifiers=_identifiers(workspace, self.subjects),
            ground=self.ground,
            approve=lambda plan: plan.digest == self.plan["plan_digest"],
        )
        return {"request": self.request}


class FinishErasuresOperator(GovernedOperator):
    """Brings every erasure that was begun to its end: segments rewritten, keys destroyed, places searched.

    Args:
        domain: with ``subjects``: then texts are searched for their identifiers too.
        subjects: a file with one identifier a line. It is removed once nobody in it is found any more.
    """

    template_fields: Sequence[str] = ("domain", "subjects")
    ui_color = "#fee2e2"

    def __init__(self, *, domain: str | None = None, subjects: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.domain = domain
        self.subjects = subjects

    def step(self, workspace: Workspace, _recorder: OpenLineageRecorder, _context: Context) -> list[Any]:
        """Each request with what was ``found``, ``held`` by law, and whether it is ``complete``.

        Raises:
            What :func:`governance.rights.finish` raises.
        """
        from governance.rights import finish

        file = None if self.subjects is None else workspace.settings.home / self.subjects
        known = None
        if file is not None and self.domain is not None and file.exists():
            known = {self.domain: _identifiers(workspace, self.subjects or "")}
        ended = finish(workspace, identifiers=known)
        if file is not None:
            file.unlink(missing_ok=True)
        return [{name: facts[name] for name in ("request", "found", "held", "complete")} for facts in ended]


def _identifiers(workspace: Workspace, name: str) -> pa.Array:
    import pyarrow as pa

    from governance.errors import SourceError

    path: Path = workspace.settings.home / name
    try:
        named = [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeError) as fault:
        raise SourceError(
            "GOV-701",
            f"the file of subjects cannot be read ({type(fault).__name__})",
            "write one identifier a line, UTF-8, and name the file below the home",
        ) from None
    if not named:
        raise SourceError("GOV-704", "the file of subjects is empty", "write one identifier a line")
    return pa.array(named, pa.string())
