"""`governance lint`: what DAG files may not do, before Airflow sees them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import click

from governance.errors import SettingError


@click.command("lint")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True))
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif"]),
    default="text",
    show_default=True,
    help="SARIF is what code hosts show beside the lines.",
)
@click.option("--home", metavar="DIRECTORY", help="Governance home. Default: $GOVERNANCE_HOME.")
def command(paths: tuple[str, ...], form: str, home: str | None) -> None:
    """Check the DAG files below PATHS against the home's contracts and policy.

    Finds what Airflow would refuse with the cluster policy of this package, all at once: governed datasets
    touched outside their stages, assets that cannot be resolved, stages left out, unknown purposes and
    recipients, contracts that do not load, models trained on what no stage classified. Exits with 1 where it
    finds something. The files are imported, as Airflow imports them; no store and no database is opened.
    """
    if importlib.util.find_spec("airflow") is None:
        raise SettingError(
            "GOV-902",
            "Airflow is not installed, and DAG files import it",
            "pip install 'airflow-governance[airflow]'",
        )
    # A process of its own: Airflow reads its settings when it is imported.
    command = [sys.executable, "-m", "governance.airflow.enforcement.lint", "--format", form]
    done = subprocess.run(  # noqa: S603 - our own module, with the paths that were given
        [*command, *(("--home", home) if home else ()), "--", *paths], check=False
    )
    sys.exit(done.returncode)
