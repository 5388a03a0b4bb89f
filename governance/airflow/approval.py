"""The approval task: Airflow asks one of the policy's approvers; what they say becomes evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param
from airflow.sdk.definitions.param import ParamsDict

from governance.airflow.operators import GovernedOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from governance.pipeline.step import RunContext

_REASON = "reason"
_DIGEST = "manifest_digest"


class GovernedApprovalOperator(GovernedOperator, ApprovalOperator):  # type: ignore[misc]
    """Waits for an approver where the policy asks for one, and is skipped where it does not.

    The request names the manifest's digest. Who may answer comes from the policy when the task runs: its
    approvers without the contract's team and without the user who started the run.

    Args:
        reference: what :class:`~governance.airflow.OpenRunOperator` returned.
    """

    template_fields: Sequence[str] = ("reference",)
    ui_color = "#fee2e2"

    def __init__(self, *, reference: Any, **kwargs: Any) -> None:
        kwargs.setdefault("subject", "Release a governed dataset version")
        super().__init__(fail_on_reject=True, **kwargs)
        # After it: Airflow hands every task the DAG's own parameters, which are none of this form's.
        self.params = _form("")
        self.reference = reference

    def execute(self, context: Context) -> Any:
        from airflow.sdk.exceptions import AirflowSkipException

        from governance.pipeline.approval import approval_request

        run = self._resumed(context)
        if run.run.dataset in run.policy.observed:
            raise AirflowSkipException("the policy only observes this dataset: nothing is released")
        request = approval_request(run, triggered_by=triggered_by(context))
        if request is None:
            raise AirflowSkipException("the policy asks for no approval of this version")
        self.assigned_users = [{"id": name, "name": name} for name in request.approvers]
        columns = "\n".join(f"| {name} | {level} |" for name, level in request.columns)
        self.params = _form(request.digest)
        self.subject = f"Release {run.run.dataset} {run.run.version}"
        self.body = (
            f"{request.rows:,} rows for {run.run.purpose}, manifest `{request.digest}`.\n\n"
            f"| column | sensitivity |\n|---|---|\n{columns}\n"
        )
        return ApprovalOperator.execute(self, context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        from governance.pipeline.approval import approve

        answer = ApprovalOperator.execute_complete(self, context, event)
        form = event.get("params_input") or {}
        user = event.get("responded_by_user") or {}
        approve(
            self._resumed(context),
            # From the form that was answered, not what the version is by now.
            digest=str(form.get(_DIGEST) or ""),
            approver=str(user.get("name") or user.get("id") or ""),
            triggered_by=triggered_by(context),
            decided_at=event["responded_at"],
            reason=str(form.get(_REASON) or ""),
            by_way_of="airflow",
        )
        return answer

    def _resumed(self, context: Context) -> RunContext:
        from governance.pipeline.opened_by import require_same_package
        from governance.pipeline.step import RunReference, resume

        workspace, recorder = self.opened(context)
        reference = RunReference.from_json(self.reference)
        require_same_package(workspace, reference)
        return resume(workspace, reference, recorder)


def _form(digest: str) -> ParamsDict:
    """What an approver fills in; the digest comes back with the answer and so says what was approved."""
    shown = {"enum": [digest]} if digest else {}
    return ParamsDict(
        {
            _REASON: Param("", type="string", title="Why", description="Kept as evidence."),
            _DIGEST: Param(digest, type="string", title="Manifest", **shown),
        }
    )


def triggered_by(context: Context) -> str | None:
    """The user who started the DAG run by hand or over the API; ``None`` for schedules and assets."""
    name = getattr(context["dag_run"], "triggering_user_name", None)
    return str(name) if name else None
