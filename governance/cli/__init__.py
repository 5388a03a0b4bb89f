"""The `governance` command. Each subcommand is one module, imported when it is called."""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module

import click

from governance import __version__
from governance.config import debugging
from governance.errors import GovernanceError

COMMANDS = {
    "adopt": "list what existing DAGs touch, and what each needs to be governed",
    "broker": "see and end grants of a running key broker",
    "classification": "what columns hold along lineage, and what people corrected",
    "classify": "show what is in each column of a file",
    "consent": "import consent records, show the ledger, explain a decision",
    "contract": "draft a contract for a file, check one against the policy, explain it",
    "demo": "make sample data and run both example DAGs through Airflow",
    "detect": "check your own detectors, measure them on labelled notes, train on your own",
    "disclose": "write a released version for a recipient, sealed and recorded",
    "erase": "erase a subject: plan, suppress at once, rewrite and destroy, search",
    "inventory": "list storage and hold it against the log: copies, backups of keys",
    "keys": "make, rotate and move keys, show how they were used and destroyed",
    "lineage": "ask which datasets, runs and columns led where",
    "lint": "check DAG files against contracts and policy",
    "log": "show and verify the tamper-evident log",
    "outbox": "show and drain emitted events that wait to be sent",
    "plan": "show what a run would do and what would stop it; nothing is written",
    "quarantine": "list rows that failed a rule, replay them after a fix, remove what expired",
    "report": "make audit reports and their bundles",
    "request": "the register of data subjects' requests and their clocks",
    "spark": "prepare Spark for reading released versions",
    "serve": "serve the lineage store over HTTP: ingest, reads, audit, pages",
    "subject": "ask which versions, runs, recipients and models hold a person",
    "token": "make, list and revoke the server's bearer tokens",
    "vault": "move the subject vault between a file and the home's database",
    "run": "run the governed pass on one dataset, without Airflow",
    "verify": "check a report bundle offline against a pinned key",
    "witness": "cosign checkpoints of other people's logs",
}

EXIT_CODES = """
\b
Exit codes:
  0  done, or verified
  1  refused or failed, with a GOV- code on standard error
  2  the command line is wrong
  3  verified nothing: no key was pinned
"""


class _Lazy(click.Group):
    def list_commands(self, _ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"governance.cli.{name}_command").command
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # From the table, not from the modules: help must not import every room.
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=_Lazy, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="governance")
def cli() -> None:
    """Governed training and inference datasets: enforced, tamper-evident, checkable offline."""


def main() -> None:
    """Entry point: errors we know get a code and a remedy, others only their type's name."""
    try:
        cli(standalone_mode=True)
    except GovernanceError as fault:
        if "--json" in sys.argv:
            click.echo(
                json.dumps({"error": {"code": fault.code, "message": fault.message, "remedy": fault.remedy}}),
                err=True,
            )
        else:
            click.secho(str(fault), fg="red", err=True)
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as fault:
        if debugging():
            raise
        # A library's message may quote a value it choked on.
        click.secho(
            f"unexpected {type(fault).__name__}; its text is withheld, it may quote data\n"
            "  → run again with GOVERNANCE_DEBUG=1 where the output is private, and report it",
            fg="red",
            err=True,
        )
        sys.exit(1)
