"""Tables, views and macros of a database, made once a process and copied into each database that needs them.

DuckDB 2.0 binds a macro when it is made, a fifth of a second for all of the projection; to copy what was bound
takes milliseconds. So a process pays once, however many indexes it opens.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

    Make = Callable[[duckdb.DuckDBPyConnection], None]

_making = threading.Lock()


def lay_out(connection: duckdb.DuckDBPyConnection, database: str, make: Make) -> None:
    """Give an empty database what ``make``, a module's function, makes in one: its schema, no rows."""
    try:
        with _making:
            image = _image(make)
    except OSError:
        # Nowhere to put it: a container whose file system is read-only.
        connection.execute(f"USE {database}")
        make(connection)
        return
    connection.execute(f"ATTACH '/proc/self/fd/{image}' AS made (READ_ONLY)")
    connection.execute(f"COPY FROM DATABASE made TO {database} (SCHEMA)")
    connection.execute("DETACH made")


@cache
def _image(make: Make) -> int:
    """A file in memory, of this process and those it forks: nothing is left on a disk."""
    import duckdb

    with TemporaryDirectory(prefix="governance-") as folder:
        path = Path(folder) / "made.duckdb"
        with duckdb.connect(path, config={"threads": 1}) as connection:
            make(connection)
        image = os.memfd_create("governance-made")
        with os.fdopen(os.dup(image), "wb") as file:
            file.write(path.read_bytes())
    return image
