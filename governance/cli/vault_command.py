"""`governance vault`: where the subject vault lies."""

from __future__ import annotations

import click

from governance.cli.options import home_options, json_option, settings, show


@click.group("vault")
def command() -> None:
    """Move the subject vault between a file in the home and the database of the home's store."""


@command.command("move")
@click.option("--into", required=True, type=click.Choice(["database", "file"]), help="Where it goes.")
@home_options
@json_option
def move(into: str, home: str | None, store: str | None, as_json: bool) -> None:
    """Move the vault; pseudonyms, secrets and the suppression list stay what they are.

    The database is the PostgreSQL of $GOVERNANCE_STORE. Runs wait meanwhile; a process that has the vault open is
    refused with GOV-307 afterwards and opens it again. Killed at any moment, the vault is in one of the two places: run
    it again.
    """
    from governance.pipeline.vault_moves import move_home_vault
    from governance.pipeline.workspace import Workspace

    moved = move_home_vault(Workspace.open(settings(home, store)), into_database=into == "database")
    show(
        moved,
        as_json,
        lambda: click.echo(f"{moved['pages']:,} pages moved\nfrom {moved['source']}\nto   {moved['target']}"),
    )
