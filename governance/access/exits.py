"""The ways a disclosure leaves by: a directory, a bucket, an AI service. Each is refused before anything is read."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from governance.access.egress import destination as allowed_destination
from governance.access.egress import export
from governance.access.sealing import read_disclosure
from governance.access.services import provider
from governance.access.services.requests import Endpoint, Part, parts
from governance.errors import AccessError
from governance.model.policy import AiService, Recipient
from governance.pipeline.disclosed import FOLDER
from governance.storage import Storage

STATEMENT = "disclosure.json"


@dataclass(frozen=True, slots=True)
class Written:
    """A disclosure as it waits in ``folder``: sealed ``files`` under ``secret``, 32 bytes that no file holds.

    ``people`` are the columns of pseudonyms.
    """

    folder: Path
    secret: bytes
    files: Sequence[Mapping[str, Any]]
    people: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Written({self.folder.name})"


class Exit(Protocol):
    @property
    def beside(self) -> Path:
        """Where a disclosure waits until it is recorded."""

    def told(self, written: Written) -> dict[str, Any]:
        """What the register says of the way."""

    def leave(self, written: Written) -> tuple[Path | str, tuple[str, ...]]:
        """Let it out. Where it is now, and an AI service's names of its jobs."""


def exit_of(
    to: Recipient,
    disclosure_id: str,
    home: Path,
    directory: Path | None,
    destination: str | None,
) -> Exit:
    """The way out that was asked for.

    Raises:
        AccessError: GOV-602 where the policy does not let it leave so, GOV-608 where a service's client is missing.
    """
    waiting = home / FOLDER
    if to.service is not None:
        if directory is not None or destination is not None:
            raise AccessError(
                "GOV-602",
                f"{to.name} is an AI service: nothing is written for it",
                "name no directory and no bucket",
            )
        kind = provider(to.service.kind)
        form = kind.record(to.service.instructions is not None)
        return ToService(to.service, kind.open_endpoint(to.service), form, disclosure_id, waiting)
    if destination is not None:
        return IntoBucket(allowed_destination(to, destination, disclosure_id), waiting)
    if directory is None:
        raise AccessError(
            "GOV-602", f"{to.name} needs a directory or a bucket", "say where the files are to go"
        )
    if directory.exists():
        raise AccessError(
            "GOV-602", f"{directory.name} exists already", "name a directory that does not exist"
        )
    return IntoDirectory(directory, directory.parent)


@dataclass(frozen=True, slots=True)
class IntoDirectory:
    directory: Path
    beside: Path

    def told(self, _written: Written) -> dict[str, Any]:
        return {"kind": "directory"}

    def leave(self, written: Written) -> tuple[Path, tuple[str, ...]]:
        written.folder.rename(self.directory)
        return self.directory, ()


@dataclass(frozen=True, slots=True)
class IntoBucket:
    bucket: Storage
    beside: Path

    def told(self, _written: Written) -> dict[str, Any]:
        return {"kind": "bucket", "uri": self.bucket.uri}

    def leave(self, written: Written) -> tuple[str, tuple[str, ...]]:
        export(self.bucket, written.folder, STATEMENT)
        shutil.rmtree(written.folder)
        return self.bucket.uri, ()


@dataclass(frozen=True, slots=True)
class ToService:
    service: AiService
    endpoint: Endpoint
    record: str
    disclosure_id: str
    beside: Path

    def told(self, written: Written) -> dict[str, Any]:
        return {
            "kind": "service",
            "provider": self.service.kind,
            "region": self.service.region,
            "model": self.service.model,
            "requests": [part.facts() for part in self._parts(written)],
        }

    def leave(self, written: Written) -> tuple[str, tuple[str, ...]]:
        jobs = tuple(
            self.endpoint.send(f"{self.disclosure_id}-{number:05d}.jsonl", part.data)
            for number, part in enumerate(self._parts(written))
        )
        shutil.rmtree(written.folder)
        return f"{self.service.kind}:{self.service.region}/{self.service.model}", jobs

    def _parts(self, written: Written) -> Iterator[Part]:
        rows = read_disclosure(written.folder, written.secret, written.files)
        return parts(rows, self.record, self.service, written.people)
