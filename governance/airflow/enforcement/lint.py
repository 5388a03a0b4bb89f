"""``python -m governance.airflow.enforcement.lint``: every violation of every DAG file, for CI and pre-commit."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from governance import __version__
from governance.airflow.enforcement.findings import Finding
from governance.airflow.enforcement.known import Known
from governance.config import Settings
from governance.errors import CODES, GovernanceError


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what is wrong with the DAG files below PATHs; 0 when nothing is."""
    parser = argparse.ArgumentParser(prog="governance lint")
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--home")
    parser.add_argument("--format", choices=("text", "json", "sarif"), default="text")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        isolate(Path(folder))
        files, found = examine(chosen.paths, Known(Settings.from_environment(home=chosen.home)))
    if chosen.format == "sarif":
        click.echo(json.dumps(sarif(found), indent=2))
    elif chosen.format == "json":
        click.echo(json.dumps([finding.to_json() for finding in found], indent=2))
    else:
        for finding in found:
            click.echo(str(finding))
        observed = sum(finding.observed for finding in found)
        click.echo(f"{files} files, {len(found) - observed} violations, {observed} only observed", err=True)
    return 0 if all(finding.observed for finding in found) else 1


def isolate(folder: Path) -> None:
    """No database, no example DAGs: a file is parsed as Airflow would, and nothing else happens."""
    os.environ.setdefault("AIRFLOW_HOME", str(folder))
    os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
    os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{folder}/airflow.db"
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "CRITICAL"
    warnings.simplefilter("ignore")


def examine(paths: Sequence[Path], known: Known) -> tuple[int, list[Finding]]:
    """How many files were read, and what is wrong with their DAGs."""
    from governance.airflow.enforcement.rules import violations

    found: list[Finding] = []
    files = list(dag_files(paths))
    for file in files:
        bag = parsed(file)
        for text in bag.import_errors.values():
            found.append(_unparsed(file, text))
        for dag in bag.dags.values():
            found += violations(dag, known)
    return len(files), sorted(set(found))


def parsed(file: Path) -> Any:
    """A file's DAGs as Airflow's ``DagBag`` has them, without our cluster policy: it stops at a file's first violation."""
    from airflow import settings
    from airflow.dag_processing.dagbag import DagBag

    from governance.airflow.enforcement import policy

    plugins = settings.get_policy_plugin_manager()
    if plugins.is_registered(policy):
        plugins.unregister(policy)
    return DagBag(dag_folder=str(file))


def dag_files(paths: Sequence[Path]) -> Iterator[Path]:
    """Every Python file below paths, in order."""
    for path in paths:
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _unparsed(file: Path, text: str) -> Finding:
    """A file that Airflow cannot import. Its last line names the fault; a traceback may quote the code."""
    last = (text.strip().splitlines() or ["an unknown fault"])[-1]
    return Finding(
        str(file), 1, "", "", "GOV-645", f"the file cannot be imported: {last[:300]}", "correct the file"
    )


def sarif(found: Sequence[Finding]) -> dict[str, Any]:
    """Findings as SARIF 2.1.0, which code hosts show beside the lines."""
    codes = sorted({finding.code for finding in found})
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "governance lint",
                        "semanticVersion": __version__,
                        "rules": [{"id": c, "shortDescription": {"text": CODES.get(c, c)}} for c in codes],
                    }
                },
                "results": [
                    {
                        "ruleId": finding.code,
                        "level": "note" if finding.observed else "error",
                        "message": {"text": f"{finding.message}; {finding.remedy}"},
                        "locations": [
                            {
                                "physicalLocation": {
                                    "artifactLocation": {"uri": _relative(finding.file)},
                                    "region": {"startLine": finding.line},
                                },
                                "logicalLocations": [
                                    {
                                        "fullyQualifiedName": ".".join(
                                            filter(None, (finding.dag, finding.task))
                                        )
                                    }
                                ],
                            }
                        ],
                    }
                    for finding in found
                ],
            }
        ],
    }


def _relative(file: str) -> str:
    """Relative to where the command runs, as SARIF's readers expect of a checkout."""
    path = Path(file)
    return path.relative_to(Path.cwd()).as_posix() if path.is_relative_to(Path.cwd()) else path.as_uri()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GovernanceError as fault:
        click.echo(str(fault), err=True)
        sys.exit(1)
