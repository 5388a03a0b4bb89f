"""What a run would do, shown before anything is written."""

from governance.pipeline.preview.plan import CLASSIFY_BY, plan_run

__all__ = ["CLASSIFY_BY", "plan_run"]
