"""``s3:`` storage: a prefix of a bucket, ``s3://BUCKET/PREFIX``.

Small files and pointers go through ``obstore``, which has S3's conditional writes; segments are
streamed through PyArrow's file system. An object is whole and durable when its put is acknowledged,
and replacing it is one step. What S3 has no step for is said here:

- :meth:`S3Storage.remove_tree` deletes object by object. No pointer names what is being removed.
- Parts of an upload that a crash cut short are no objects: a lifecycle rule
  (``AbortIncompleteMultipartUpload``) removes them, :meth:`S3Storage.sweep` cannot.

Credentials are those of the AWS SDKs' environment or of the machine's role; ``AWS_ENDPOINT_URL_S3`` or
``AWS_ENDPOINT_URL`` names another S3 than AWS's.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from governance import config
from governance.errors import SettingError, StorageError
from governance.storage.base import pointer_moved, relative_parts

if TYPE_CHECKING:
    import pyarrow.fs as pafs

_URI = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/*(.*)", re.IGNORECASE)
_BATCH = 1_000
"""Keys of one DeleteObjects."""


def open_s3_storage(uri: str) -> S3Storage:
    """The storage at ``s3://BUCKET/PREFIX``; asks nothing of S3.

    Raises :class:`StorageError` GOV-724 for another form of URI, :class:`SettingError` GOV-901 where
    ``obstore`` is not installed.
    """
    found = _URI.fullmatch(uri)
    if found is None or any(mark in uri for mark in "?#@"):
        raise StorageError(
            "GOV-724",
            "an s3: storage is named by a bucket and a prefix, nothing else",
            "write s3://BUCKET/PREFIX; credentials, region and endpoint come from the AWS environment",
        )
    try:
        from obstore.store import S3Store
    except ImportError:
        raise SettingError(
            "GOV-901", "s3: needs obstore, which is not installed", "install airflow-governance[aws]"
        ) from None
    bucket, prefix = found[1], found[2].strip("/")
    relative_parts(prefix)
    service = config.aws_service("s3")
    store = S3Store(
        bucket,
        prefix=prefix or None,
        **({"endpoint": service.endpoint} if service.endpoint else {}),
        **({"region": service.region} if service.region else {}),
        # Said of the endpoint alone; AWS's own is always https.
        client_options={"allow_http": True, "connect_timeout": timedelta(seconds=5)},
        retry_config={"max_retries": 5, "retry_timeout": timedelta(seconds=30)},
    )
    return S3Storage(store, bucket, prefix, service)


class S3Storage:
    """A :class:`~governance.storage.base.Storage` below a prefix of a bucket."""

    def __init__(self, store: Any, bucket: str, prefix: str, service: config.AwsService) -> None:
        self._store = store
        self._root = f"{bucket}/{prefix}" if prefix else bucket
        self._service = service

    def __repr__(self) -> str:
        return f"S3Storage({self.uri!r})"

    @property
    def uri(self) -> str:
        return f"s3://{self._root}"

    def filesystem(self) -> pafs.FileSystem:
        import pyarrow.fs as pafs

        scheme, _, endpoint = (self._service.endpoint or "").rpartition("://")
        return pafs.S3FileSystem(
            region=self._service.region, endpoint_override=endpoint or None, scheme=scheme or None
        )

    def path(self, relative: str) -> str:
        return "/".join((self._root, *relative_parts(relative)))

    def make_directory(self, relative: str) -> str:
        return self.path(relative)

    def write(self, relative: str, data: bytes) -> None:
        self._put(_key(relative), data, "overwrite")

    def read(self, relative: str) -> bytes:
        with _reported(relative):
            return self._get(_key(relative))[0]

    def exists(self, relative: str) -> bool:
        key = "/".join(relative_parts(relative))
        with _reported(relative):
            if key:
                with contextlib.suppress(FileNotFoundError):
                    self._store.head(key)
                    return True
            return next(self._listed(key), None) is not None

    def list(self, prefix: str = "") -> list[str]:
        with _reported(prefix):
            return sorted(self._listed("/".join(relative_parts(prefix))))

    def remove_tree(self, relative: str) -> None:
        key = _key(relative)
        with _reported(relative):
            doomed = [key, *self._listed(key)]
            for start in range(0, len(doomed), _BATCH):
                self._store.delete(doomed[start : start + _BATCH])

    def sync(self, relative: str) -> None:
        if not self.exists(relative):
            raise StorageError("GOV-724", f"there is nothing at {relative or 'the root'}", "write it first")

    def pointer(self, name: str) -> bytes | None:
        return self._pointer(name)[0]

    def swap_pointer(self, name: str, expected: bytes | None, new: bytes) -> None:
        held, tag = self._pointer(name)
        if held != expected:
            raise pointer_moved(name)
        swapped = self._put(_key(name), new, {"e_tag": tag} if tag is not None else "create")
        # A put whose answer was lost is sent again and finds its own bytes; they name one manifest.
        if not swapped and self.pointer(name) != new:
            raise pointer_moved(name)

    def sweep(self) -> int:
        return 0

    def _listed(self, key: str) -> Iterator[str]:
        for page in self._store.list(prefix=key or None):
            yield from (entry["path"] for entry in page)

    def _get(self, key: str) -> tuple[bytes, str]:
        found = self._store.get(key)
        return bytes(found.bytes()), found.meta["e_tag"]

    def _pointer(self, name: str) -> tuple[bytes | None, str | None]:
        with _reported(name):
            try:
                return self._get(_key(name))
            except FileNotFoundError:
                return None, None

    def _put(self, key: str, data: bytes, mode: str | dict[str, str]) -> bool:
        """Whether the condition held. ``mode``: ``overwrite``, ``create`` or the ETag that must stand there."""
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with _reported(key):
            try:
                self._store.put(key, data, mode=mode)
            except (AlreadyExistsError, PreconditionError):
                return False
        return True


def _key(relative: str) -> str:
    """The key below the prefix of what cannot be the root."""
    parts = relative_parts(relative)
    if not parts:
        raise StorageError("GOV-724", "the root itself cannot be used here", "name a path below it")
    return "/".join(parts)


@contextlib.contextmanager
def _reported(relative: str) -> Iterator[None]:
    """Turn what ``obstore`` raises into GOV-724 with the kind of fault; its text quotes requests."""
    from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

    try:
        yield
    except (AlreadyExistsError, PreconditionError):
        raise
    except (BaseError, OSError) as fault:
        raise StorageError(
            "GOV-724",
            f"{relative or 'the root'} cannot be used: S3 answered {type(fault).__name__}",
            "check the bucket's name, region, credentials and network; what was there before is unchanged",
        ) from None
