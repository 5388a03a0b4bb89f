"""`governance spark`: the Java half of reading with Spark."""

from __future__ import annotations

from pathlib import Path

import click


@click.group("spark")
def command() -> None:
    """Prepare Spark for released versions."""


@command.command("build")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
def build(directory: Path) -> None:
    """Compile Parquet's key client for the installed Spark into DIRECTORY and print the jar's path.

    Reading with Spark does this by itself, into HOME/spark, where a Java compiler is installed. Where none is,
    build the jar on a machine with the same release of PySpark and copy it there.
    """
    from governance.pipeline.spark.jar import built_jar

    click.echo(built_jar(directory))
