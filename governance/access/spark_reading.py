"""Reading a released version with Spark: its own Parquet reader, our key client, the manifest check first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.fs as pafs

from governance.access.read import recorded_read
from governance.errors import StorageError
from governance.model.dataset import Manifest
from governance.model.decision import Reason
from governance.pipeline.consent import ReleasedSubjects
from governance.pipeline.spark.grants import GrantSocket, ReadGrant
from governance.pipeline.spark.jar import FILES, KEYS
from governance.pipeline.spark.session import require_fit
from governance.pipeline.workspace import Workspace
from governance.protect import open_version, verify_files
from governance.protect.encryption import key_material_path
from governance.protect.types import schema_of
from governance.storage import Storage

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@contextmanager
def read_with_spark(
    workspace: Workspace,
    session: SparkSession,
    dataset: str,
    *,
    purpose: str,
    columns: Sequence[str] | None = None,
) -> Iterator[DataFrame]:
    """The released version of ``dataset`` as a data frame, good for as long as the context lasts.

    Every file's digest is held against the manifest and the read is recorded before the frame is given; when
    Spark opens a file, it is compared with what was verified. Rows that :func:`read_released` would leave out
    are left out. Executors ask this process for the keys, one of a file at a time, so they run on this
    machine; at the context's end the grant ends and Parquet's key caches are emptied.

    Args:
        session: made with :func:`governance.pipeline.spark.session.read_settings`.

    Raises:
        As :func:`governance.access.read_released`; SettingError: GOV-901 for a session that is not fit for
        personal data; StorageError: GOV-724 for a storage that is no file system. Spark raises what it meets
        in a file that was altered meanwhile, with our code in the message.
    """
    require_fit(session, reads=True)
    manifest, wanted, released = recorded_read(workspace, dataset, purpose, columns)
    storage = workspace.dataset_storage(dataset)
    workspace.expect_keys(manifest)
    files, denied = _verified(workspace, storage, manifest, released)
    with GrantSocket() as socket:
        grant = socket.grant(ReadGrant(workspace.keyring, manifest, files))
        try:
            yield _frame(session, manifest, list(files), denied, wanted, (socket.path, grant))
        finally:
            socket.end(grant)
            toolkit: Any = session.sparkContext._jvm
            toolkit.org.apache.parquet.crypto.keytools.KeyToolkit.removeCacheEntriesForToken(grant)


def _verified(
    workspace: Workspace, storage: Storage, manifest: Manifest, released: ReleasedSubjects
) -> tuple[dict[str, tuple[bytes, str]], pa.Table]:
    """How each data file may be known again, by path, and the denied pairs of subject and jurisdiction."""
    if not isinstance(storage.filesystem(), pafs.LocalFileSystem | pafs.SubTreeFileSystem):
        raise StorageError(
            "GOV-724",
            f"Spark reads versions from a file system, and {manifest.dataset} is not on one",
            "read it with read_released or read_with_duckdb",
        )
    tails = verify_files(storage, manifest.segments)
    listed = {file.path: file for segment in manifest.segments for file in segment.files}
    files = {
        storage.path(path): (tails[path], listed[key_material_path(path)].digest)
        for path, file in listed.items()
        if file.role == "data"
    }
    full = schema_of(manifest.body["schema"])
    denied = [pa.schema([full.field(name) for name in released.columns]).empty_table()]
    key = workspace.keyring.segment_key
    for batch in open_version(storage, manifest, key, columns=released.columns, verified=tails):
        reasons, _ = released.decide(batch)
        denied.append(pa.Table.from_batches([batch.filter(pa.array(reasons != Reason.ALLOWED))]))
    return files, pa.concat_tables(denied).group_by(released.columns).aggregate([])


def _frame(
    session: SparkSession,
    manifest: Manifest,
    paths: list[str],
    denied: pa.Table,
    wanted: list[str],
    grant: tuple[str, str],
) -> DataFrame:
    from pyspark.sql.functions import broadcast
    from pyspark.sql.pandas.types import from_arrow_schema

    schema = from_arrow_schema(schema_of(manifest.body["schema"]))
    if not paths:
        return session.createDataFrame([], schema).select(*(f"`{name}`" for name in wanted))
    options = {
        "parquet.crypto.factory.class": FILES,
        "parquet.encryption.kms.client.class": KEYS,
        # Parquet caches what it unwrapped by this token: what one read was given is no other's.
        "parquet.encryption.key.access.token": grant[1],
        # What executors in other processes than the driver's hold, which it cannot empty.
        "parquet.encryption.cache.lifetime.seconds": "60",
        "governance.grant.socket": grant[0],
        "governance.grant.name": grant[1],
    }
    frame = session.read.schema(schema).options(**options).parquet(*(f"file:{path}" for path in paths))
    if denied.num_rows:
        gone = broadcast(session.createDataFrame(denied))
        same = [frame[name].eqNullSafe(gone[name]) for name in denied.column_names]
        frame = frame.join(gone, same, "left_anti")
    return frame.select(*(f"`{name}`" for name in wanted))
