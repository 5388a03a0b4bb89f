"""Governed reading of released versions, and disclosure to recipients."""

from governance.access.disclose import Disclosure, disclose
from governance.access.duckdb_reading import read_with_duckdb
from governance.access.opening import open_disclosure
from governance.access.read import read_released, released_reader
from governance.access.spark_reading import read_with_spark

__all__ = [
    "Disclosure",
    "disclose",
    "open_disclosure",
    "read_released",
    "read_with_duckdb",
    "read_with_spark",
    "released_reader",
]
