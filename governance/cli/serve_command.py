"""`governance serve`: the lineage store over HTTP."""

from __future__ import annotations

import click

from governance.cli.options import home_options, settings


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=5000, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one."
)
@home_options
def command(host: str, port: int, home: str | None, store: str | None) -> None:
    """Serve the lineage store: OpenLineage ingest, Marquez-compatible reads, audit, pages."""
    from governance.server.serve import serve

    serve(settings(home, store), host, port)
