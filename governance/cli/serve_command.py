"""`governance serve`: the lineage store over HTTP."""

from __future__ import annotations

from pathlib import Path

import click

from governance.cli.options import home_options, settings

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=5000, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one."
)
@home_options
@click.option("--create", is_flag=True, help="Make the store of --store when it is not there yet.")
@click.option("--tls-cert", type=_FILE, help="PEM certificate chain; with --tls-key the server speaks HTTPS.")
@click.option("--tls-key", type=_FILE, help="Its PEM private key.")
@click.option(
    "--trusted-proxy",
    multiple=True,
    metavar="ADDRESS",
    help="Believe X-Forwarded headers from here. Repeatable.",
)
@click.option("--root-path", default="", metavar="/PATH", help="Where a proxy shows this server.")
@click.option(
    "--frame-ancestor",
    multiple=True,
    metavar="ORIGIN",
    help="Let pages of this origin, https://portal.example, show these in a frame. Repeatable.",
)
@click.option(
    "--checkpoint-every",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0.1),
    help="Seconds between signed checkpoints; with a home only.",
)
@click.option(
    "--snapshots",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIRECTORY",
    help="Where the index is kept between starts. Default: HOME/index; without a home it is made anew.",
)
@click.option(
    "--snapshot-every",
    default=600.0,
    show_default=True,
    type=click.FloatRange(1),
    help="Seconds between snapshots of the index.",
)
@click.option(
    "--max-body", default=64, show_default=True, type=click.IntRange(1), help="MiB of one request, gunzipped."
)
@click.option(
    "--index-memory",
    default="40%",
    show_default=True,
    metavar="AMOUNT",
    help="Most memory of the index (a share of the machine's, or as 4GB); as much again for the present beside it.",
)
@click.option(
    "--broker",
    type=_FILE,
    metavar="FILE",
    help="Be the home's key broker too, with the settings in FILE; see docs/broker.md.",
)
def command(
    host: str,
    port: int,
    home: str | None,
    store: str | None,
    create: bool,
    tls_cert: Path | None,
    tls_key: Path | None,
    trusted_proxy: tuple[str, ...],
    root_path: str,
    frame_ancestor: tuple[str, ...],
    checkpoint_every: float,
    snapshots: Path | None,
    snapshot_every: float,
    max_body: int,
    index_memory: str,
    broker: Path | None,
) -> None:
    """Serve the lineage store: OpenLineage ingest, Marquez-compatible reads, audit, pages.

    With --store alone it needs no home and no key. With a home (--home, or GOVERNANCE_HOME without --store)
    it also signs checkpoints and pins the home's evidence key. Prints its URL when it listens.
    """
    from governance.server.serve import serve
    from governance.server.settings import ServerSettings

    chosen = None if store and not home else settings(home, store)
    serve(
        chosen,
        chosen.store if chosen else store or "",
        ServerSettings(
            host=host,
            port=port,
            tls_cert=tls_cert,
            tls_key=tls_key,
            trusted_proxy=trusted_proxy,
            root_path=root_path,
            frame_ancestors=frame_ancestor,
            checkpoint_every=checkpoint_every,
            snapshots=snapshots,
            snapshot_every=snapshot_every,
            max_body=max_body << 20,
            index_memory=index_memory,
            broker=broker,
        ),
        create=create,
    )
