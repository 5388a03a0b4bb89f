"""What is wrong with a DAG, where, and what to write instead."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One violation. ``line`` counts from 1; ``task`` is empty where the DAG as a whole is meant.

    ``observed`` where the policy only observes the dataset that it is about: then it refuses nothing.
    """

    file: str
    line: int
    dag: str
    task: str
    code: str
    message: str
    remedy: str
    observed: bool = False

    def __str__(self) -> str:
        where = f"{self.dag}.{self.task}" if self.task else self.dag
        mode = "observed: " if self.observed else ""
        return f"{self.file}:{self.line}: {self.code} {where}: {mode}{self.message}; {self.remedy}"

    def to_json(self) -> Mapping[str, Any]:
        return asdict(self)


@lru_cache(maxsize=64)
def _tree(file: str, _changed: int) -> ast.Module | None:
    try:
        return ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None


def line_of(file: str, *names: str) -> int:
    """The line that makes what is called by the first of ``names`` that the file mentions; else 1.

    A name is an operator's ``task_id``, a decorated function, a contract's file or a DAG's id: Airflow does
    not keep where a task was made, so the file is searched for the call or function that names it.
    """
    try:
        changed = Path(file).stat().st_mtime_ns
    except OSError:
        return 1
    tree = _tree(file, changed)
    if tree is None:
        return 1
    for name in names:
        found = [
            int(node.lineno) for node in ast.walk(tree) if isinstance(node, _MAKERS) and _names(node, name)
        ]
        if found:
            return min(found)
    return 1


_MAKERS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Call)


def _names(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Call, name: str) -> bool:
    if not isinstance(node, ast.Call):
        return node.name == name
    given = [*node.args, *(keyword.value for keyword in node.keywords)]
    return any(isinstance(value, ast.Constant) and value.value == name for value in given)
