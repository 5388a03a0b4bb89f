"""`governance inventory`: storage listed and held against the log."""

from __future__ import annotations

import sys

import click

from governance.cli.options import home_options, json_option, settings, show


@click.command("inventory")
@click.argument("places", nargs=-1, metavar="[PLACE]...")
@home_options
@json_option
def command(places: tuple[str, ...], home: str | None, store: str | None, as_json: bool) -> None:
    """List the datasets' root, and each PLACE in which nothing governed should lie: a directory or storage URI.

    What no evidence accounts for is printed by name and recorded in the log by count; reports then show a gap. Exits 1
    when there is one.
    """
    from governance.pipeline.workspace import Workspace
    from governance.rights.inventory import lines, take_inventory

    body, found = take_inventory(Workspace.open(settings(home, store)), places)

    def text() -> None:
        for line in lines(body, found):
            click.echo(line)

    said = {**body, "found": [{"place": f.place, "path": f.path, "what": f.what} for f in found]}
    show(said, as_json, text)
    if found:
        sys.exit(1)
