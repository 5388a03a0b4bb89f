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
        from governance.log import archive
        from governance.log.retention import Limits, prune
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
        directory: where it is written; a relative path is looked up in the home.
        period: two days, both included: ``2026-01-01/2026-06-30``; all time when left out.
        fail_on_exceptions: fail the task where the report's verdict has exceptions, after it was written.
    """

    template_fields: Sequence[str] = ("kind", "directory", "period")
    ui_color = "#fef9c3"

    def __init__(
        self,
        *,
        kind: str,
        directory: str,
        period: str | None = None,
        fail_on_exceptions: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kind = kind
        self.directory = directory
        self.period = period
        self.fail_on_exceptions = fail_on_exceptions

    def step(self, workspace: Workspace, _recorder: OpenLineageRecorder, _context: Context) -> dict[str, Any]:
        """Where the ``bundle`` lies, as of which log ``size``, and the ``verdict``'s counts.

        Raises:
            AuditError: GOV-804 for the kind or the period. AirflowException: exceptions, where they fail the task.
        """
        from airflow.sdk.exceptions import AirflowException

        from governance.audit import make_report

        made = make_report(
            workspace,
            self.kind,
            workspace.settings.home / self.directory,
            bundle=True,
            period=self.period or None,
        )
        verdict = dict(made.record["verdict"])
        if self.fail_on_exceptions and verdict["exceptions"]:
            raise AirflowException(f"{self.kind}: {verdict['exceptions']} exceptions; the report names them")
        return {"bundle": str(made.bundle), "size": made.record["as_of"]["size"], "verdict": verdict}
