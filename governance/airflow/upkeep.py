"""Operators that keep a home in order: keys are rotated, the log's bodies kept as long as the law asks, reports made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from governance.airflow.operators import GovernedOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from governance.lineage.recorder import OpenLineageRecorder
    from governance.pipeline.workspace import Workspace


class RotateKeysOperator(GovernedOperator):
    """Re-wraps every key under a new epoch and destroys the old epoch's key. No dataset is written anew."""

    ui_color = "#fef9c3"

    def step(self, workspace: Workspace, _recorder: OpenLineageRecorder, _context: Context) -> dict[str, Any]:
        """As :func:`governance.pipeline.rotation.rotate_keys`."""
        from governance.pipeline.rotation import rotate_keys

        return rotate_keys(workspace)


class LogRetentionOperator(GovernedOperator):
    """Moves old bodies of the log into archives, then deletes those that outlived every period of the policy.

    Args:
        older_than: an ISO 8601 period: what was recorded longer ago leaves the database.
        directory: where archives go; a relative path is looked up in the home.
        ground: why archived bodies are deleted; it stays in the log.
        authoriser: who decided it, ``SCOPE:NAME``; it stays in the log.
    """

    template_fields: Sequence[str] = ("older_than", "directory", "ground", "authoriser")
    ui_color = "#fef9c3"

    def __init__(
        self,
        *,
        older_than: str,
        authoriser: str,
        directory: str = "archive",
        ground: str = "GDPR Art. 5(1)(e), storage limitation",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.older_than = older_than
        self.directory = directory
        self.ground = ground
        self.authoriser = authoriser

    def step(self, workspace: Workspace, _recorder: OpenLineageRecorder, _context: Context) -> dict[str, Any]:
        """How many archives were ``archived`` and ``pruned``, and files that could ``not_deleted`` be.

        Raises:
            SettingError: GOV-901 when the period is none. LogError: GOV-508, GOV-517, GOV-519.
        """
        from governance.errors import SettingError
        from governance.log.archives import archive
        from governance.log.archives.retention import Limits, prune
        from governance.model.retention import Period

        log, policy = workspace.log, workspace.policy
        try:
            cutoff = Period.parse(self.older_than).before(workspace.clock())
        except ValueError:
            raise SettingError(
                "GOV-901", "older_than is no ISO 8601 period", "write one such as P6Y, P18M or P90D"
            ) from None
        archived = archive.archive(
            log,
            workspace.settings.home / self.directory,
            archive.Selection(cutoff),
            ground="old bodies leave the database",
            authoriser=self.authoriser,
        )
        pruned = []
        if policy.retention:
            pruned = prune(
                log,
                Limits.of(policy.retention, workspace.clock()),
                ground=self.ground,
                authoriser=self.authoriser,
                policy_digest=policy.digest,
            )
        left = [*log.archives.settle(), *log.storage.leftovers()]
        return {"archived": len(archived), "pruned": len(pruned), "not_deleted": sorted(set(left))}


class AuditReportOperator(GovernedOperator):
    """Makes an audit report: HTML to read, canonical JSON as the record, a bundle as the proof.

    Args:
        kind: as ``governance report list`` names it.
        directory: where it is written; a relative path is looked up in the home. Without it the report is kept in
            ``HOME/reports`` by its digest, where the service's pages list it.
        period: two days, both included: ``2026-01-01/2026-06-30``; all time when left out.
        audience: for whom, as ``governance report make --audience`` takes it; the organisation itself when left out.
        fail_on_exceptions: fail the task where the report's verdict has exceptions, after it was written.
    """

    template_fields: Sequence[str] = ("kind", "directory", "period", "audience")
    ui_color = "#fef9c3"

    def __init__(
        self,
        *,
        kind: str,
        directory: str | None = None,
        period: str | None = None,
        audience: str | None = None,
        fail_on_exceptions: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kind = kind
        self.directory = directory
        self.period = period
        self.audience = audience
        self.fail_on_exceptions = fail_on_exceptions

    def step(self, workspace: Workspace, _recorder: OpenLineageRecorder, context: Context) -> dict[str, Any]:
        """Where the ``bundle`` lies, as of which log ``size``, and the ``verdict``'s counts.

        Raises:
            AuditError: GOV-804 for the kind, the period or the audience. AirflowException: exceptions, where they
                fail the task.
        """
        from airflow.sdk.exceptions import AirflowException

        made = self._made(workspace, context["ti"])
        if self.fail_on_exceptions and made["verdict"]["exceptions"]:
            exceptions = made["verdict"]["exceptions"]
            raise AirflowException(f"{self.kind}: {exceptions} exceptions; the report names them")
        return made

    def _made(self, workspace: Workspace, task_instance: Any) -> dict[str, Any]:
        from governance.audit import make_report
        from governance.audit.shelf import BUNDLE, Shelf

        asked: dict[str, Any] = {"period": self.period or None, "audience": self.audience or None}
        home = workspace.settings.home
        if self.directory is None:
            by = f"{task_instance.dag_id}.{task_instance.task_id}"
            kept = Shelf(home / "reports").put(workspace, self.kind, by=by, at=workspace.clock(), **asked)
            return {"bundle": str(kept.folder / BUNDLE), "size": kept.size, "verdict": kept.verdict}
        made = make_report(workspace, self.kind, home / self.directory, bundle=True, **asked)
        size, verdict = made.record["as_of"]["size"], dict(made.record["verdict"])
        return {"bundle": str(made.bundle), "size": size, "verdict": verdict}
