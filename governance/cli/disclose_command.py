"""`governance disclose`: data leaves to a named recipient, sealed and recorded."""

from __future__ import annotations

import uuid
from pathlib import Path

import click

from governance.cli.options import home_options, json_option, settings, show


@click.command("disclose")
@click.argument("dataset")
@click.option("--to", "recipient", required=True, help="A recipient of the policy.")
@click.option("--purpose", required=True, help="A purpose the policy allows this recipient.")
@click.option("--description", required=True, help="What is disclosed and why; stands in the accounting.")
@click.option(
    "--out",
    metavar="DIRECTORY|s3://…",
    help="A new directory, or a destination of the recipient; nothing for an AI service.",
)
@click.option(
    "--column", "columns", multiple=True, help="Only this column; repeat for more. Default: all it may have."
)
@home_options
@json_option
def command(
    dataset: str,
    recipient: str,
    purpose: str,
    description: str,
    out: str | None,
    columns: tuple[str, ...],
    home: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Write the released version of DATASET for a recipient.

    Rows of subjects who withdrew since the release are left out. The files open only with the
    recipient's private key. An AI service of the policy is sent the rows as a batch of requests.
    """
    from governance.access import disclose
    from governance.pipeline.local import local_recorder
    from governance.pipeline.workspace import Workspace

    bucket = out is not None and "://" in out
    workspace = Workspace.open(settings(home, store))
    done = disclose(
        workspace,
        local_recorder(workspace, dataset, str(uuid.uuid4())),
        dataset=dataset,
        recipient=recipient,
        purpose=purpose,
        directory=None if bucket or out is None else Path(out),
        destination=out if bucket else None,
        description=description,
        columns=columns or None,
    )
    result = {**done.facts, "directory": str(done.directory), "log_index": done.log_index, "jobs": done.jobs}
    show(
        result,
        as_json,
        lambda: click.echo(
            f"disclosed {done.facts['rows']:,} rows of {dataset} {done.facts['version']} to "
            f"{recipient} (log entry {done.log_index}) at {done.directory}"
        ),
    )
