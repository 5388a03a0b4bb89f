"""``python -m governance.airflow.enforcement.adopt``: what an existing project's DAGs touch, and what each needs."""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click

from governance.airflow.enforcement.known import Known
from governance.airflow.enforcement.lint import dag_files, isolate, parsed
from governance.config import Settings
from governance.errors import GovernanceError

_PLACE = re.compile(
    r"[a-z][a-z0-9+.-]*://[^\s'\"]+|[\w./{}$-]+\.(?:parquet|csv\.gz|csv|jsonl\.gz|jsonl)", re.IGNORECASE
)
_ELSEWHERE = ("http://", "https://", "mailto:")
_CONNECTION = re.compile(r"\w*conn_id")


@dataclass(frozen=True, slots=True, order=True)
class Touches:
    """One thing a DAG file touches. ``how`` is ``reads``, ``writes``, ``names`` in its code or ``connects``.

    ``state`` is ``governed``, ``observed``, ``outside`` or ``broken``; ``needs`` says what to do.
    """

    file: str
    dag: str
    task: str
    how: str
    what: str
    state: str
    needs: str


def adoption(paths: Sequence[Path], known: Known) -> list[Touches]:
    """What the DAG files below paths touch. Files are imported as Airflow imports them; no store is opened."""
    # Here: they import Airflow, which reads its settings when it is imported.
    from governance.airflow.enforcement.assets import touched
    from governance.airflow.enforcement.rules import argument, kind_of, violations
    from governance.airflow.operators import OpenRunOperator

    found: set[Touches] = set()
    for file in dag_files(paths):
        bag = parsed(file)
        taken_in = {
            _shown(match[0])
            for dag in bag.dags.values()
            for task in dag.tasks
            if issubclass(kind_of(task), OpenRunOperator)
            for match in _PLACE.finditer(str(argument(task, "source")))
        }
        for named in _named(file):
            opened = named.what in taken_in
            found.add(replace(named, state="governed", needs="nothing") if opened else named)
        for _ in bag.import_errors:
            found.add(
                Touches(str(file), "", "", "names", "", "broken", "the file cannot be imported: mend it")
            )
        for dag in bag.dags.values():
            wrong = {each.task: each.remedy for each in violations(dag, known)}
            for task in dag.tasks:
                for how, declared in (("reads", task.inlets), ("writes", task.outlets)):
                    for asset in touched(declared, known.datasets, known.roots):
                        state, needs = "outside", _STEPS[how]
                        if asset.governed or asset.doubt:
                            state = "observed" if asset.dataset in known.observed else "governed"
                            needs = wrong.get(task.task_id, "nothing")
                        found.add(
                            Touches(str(file), dag.dag_id, task.task_id, how, asset.shown, state, needs)
                        )
    return sorted(found)


_DRAFT = "governance contract draft FILE, then `assets: {NAME: {mode: observe}}` in the policy"
_STEPS = {
    "reads": f"if it holds people: {_DRAFT}, governed_dataset before it, @task.governed(inputs=[NAME]) here",
    "writes": f"if it holds people: {_DRAFT}, and governed_dataset(source=…) in place of the outlet",
    "names": f"if it holds people: {_DRAFT}, and governed_dataset(source=…)",
    "connects": "what is read through it is governed once it lands: hand it to governed_dataset(source=…)",
}


def _named(file: Path) -> Iterator[Touches]:
    """Files, URIs and connections that the code names."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return
    spoken = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if (
                    keyword.arg
                    and _CONNECTION.fullmatch(keyword.arg)
                    and isinstance(keyword.value, ast.Constant)
                ):
                    name = str(keyword.value.value)
                    yield Touches(str(file), "", "", "connects", name, "outside", _STEPS["connects"])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in spoken:
            for match in _PLACE.finditer(node.value):
                if not match[0].lower().startswith((*_ELSEWHERE, "gov://")):
                    yield Touches(str(file), "", "", "names", _shown(match[0]), "outside", _STEPS["names"])


def _shown(place: str) -> str:
    """Without a password that the code may hold."""
    return re.sub(r"://[^/@\s]*@", "://…@", place)


def _text(found: Sequence[Touches]) -> Iterator[str]:
    for one in found:
        where = ".".join(filter(None, (one.dag, one.task)))
        yield f"{one.file}{': ' + where if where else ''}: {one.how} {one.what} ({one.state}) → {one.needs}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what the DAG files below PATHs touch; 0 always, for nothing is refused here."""
    parser = argparse.ArgumentParser(prog="governance adopt")
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--home")
    parser.add_argument("--json", action="store_true")
    chosen: Any = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        isolate(Path(folder))
        found = adoption(chosen.paths, Known(Settings.from_environment(home=chosen.home)))
    if chosen.json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
    else:
        for line in _text(found):
            click.echo(line)
        outside = sum(one.state == "outside" for one in found)
        click.echo(f"{len(found)} things touched, {outside} of them outside governance", err=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GovernanceError as fault:
        click.echo(str(fault), err=True)
        sys.exit(1)
