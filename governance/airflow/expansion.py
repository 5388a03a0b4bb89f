"""How often a mapped task runs, and which of the instances before it each instance goes by: for runs in a test."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context

UNMAPPED = -1


def map_indexes(task: Any, context: Context) -> range:
    """The map indexes of a task whose upstream has run; :data:`UNMAPPED` alone for one that is not mapped.

    Args:
        context: of the task, unmapped: what the mapping is over is resolved in it.
    """
    if task.is_mapped:
        over = task._get_specified_expand_input()
    else:
        group = task.get_closest_mapped_task_group()
        if group is None:
            return range(UNMAPPED, 0)
        over = group._expand_input
    given = over.value
    if isinstance(given, Mapping):
        return range(math.prod(len(_resolved(value, context)) for value in given.values()))
    return range(len(_resolved(given, context)))


def index_before(task: Any, map_index: int, before: Any) -> int | None:
    """Of an upstream task the instance that one instance goes by; ``None`` for all of them, or the only one."""
    group = task.get_closest_mapped_task_group()
    return map_index if group is not None and group is before.get_closest_mapped_task_group() else None


def named(task_id: str, map_index: int) -> str:
    """A task instance's name, as lineage names it too."""
    return task_id if map_index == UNMAPPED else f"{task_id}[{map_index}]"


def _resolved(value: Any, context: Context) -> Any:
    return value.resolve(context) if hasattr(value, "resolve") else value
