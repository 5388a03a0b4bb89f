"""Reading a released version with DuckDB, through Arrow: DuckDB itself never opens an encrypted file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from governance.access.read import released_reader
from governance.pipeline.workspace import Workspace

if TYPE_CHECKING:
    import duckdb


def read_with_duckdb(
    workspace: Workspace,
    dataset: str,
    *,
    purpose: str,
    columns: Sequence[str] | None = None,
    connection: duckdb.DuckDBPyConnection | None = None,
    detokenize: bool = False,
) -> duckdb.DuckDBPyRelation:
    """The released version of ``dataset`` as a relation that streams its rows once.

    The files are verified and the read is recorded now; rows come as :func:`governance.access.read_released`
    gives them. A second query on the relation is refused by Arrow rather than answered without rows: keep
    what is needed again in a table, or read again. DuckDB's spill to disk, which would hold values in clear,
    is switched off: a query that does not fit into memory fails.

    Args:
        connection: where to read, e.g. to join with other tables; a new one in memory when absent. Its
            spilling is switched off too.
        detokenize: as for :func:`governance.access.read_released`.

    Raises:
        As :func:`governance.access.read_released`.
    """
    import duckdb
    from pyarrow.dataset import Scanner  # here: it loads pandas where that is installed

    _, reader = released_reader(workspace, dataset, purpose=purpose, columns=columns, detokenize=detokenize)
    opened = duckdb.connect(":memory:") if connection is None else connection
    opened.execute("SET max_temp_directory_size = '0B'")
    return opened.from_arrow(Scanner.from_batches(reader))
