"""`governance adopt`: where an existing project of DAGs stands, and what each DAG needs."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import click

from governance.errors import SettingError


@click.command("adopt")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True))
@click.option("--home", metavar="DIRECTORY", help="Governance home. Default: $GOVERNANCE_HOME.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def command(paths: tuple[str, ...], home: str | None, as_json: bool) -> None:
    """List what the DAG files below PATHS touch, and what each needs to be governed.

    Assets that tasks read and write, files, URIs and connections that the code names; governed, only observed
    (`assets` in the policy), or outside. Nothing is refused. The files are imported, as Airflow imports them; no
    store and no database is opened. What code makes up while it runs cannot be seen here.
    """
    if importlib.util.find_spec("airflow") is None:
        raise SettingError(
            "GOV-902",
            "Airflow is not installed, and DAG files import it",
            "pip install 'airflow-governance[airflow]'",
        )
    # A process of its own: Airflow reads its settings when it is imported.
    asked = [sys.executable, "-m", "governance.airflow.enforcement.adopt", *(("--json",) if as_json else ())]
    done = subprocess.run(  # noqa: S603 - our own module, with the paths that were given
        [*asked, *(("--home", home) if home else ()), "--", *paths], check=False
    )
    sys.exit(done.returncode)
