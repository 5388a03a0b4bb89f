"""Where a vault's sealed rows lie; what they mean is in :mod:`governance.keys.vault.vault`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

FORMAT = 1
MOVED = 0
"""In the place of a format: the vault went to another storage, nothing of it is left here, and nobody may write."""
ARRIVING = -1
"""In the place of a format: a copy that is not the vault yet."""


class ColumnName(NamedTuple):
    """``audience`` is empty for every kind but ``pseudonym``."""

    kind: str
    domain: str
    audience: str = ""


class VaultRows(ABC):
    """The rows as one transaction sees them.

    Nothing that is read here is trusted, not even its type: SQLite keeps whatever was put into a column.
    """

    @abstractmethod
    def enter(self, vault: str, key_id: str, written: int) -> None:
        """Make the head of a new vault, of generation 0 and with nothing sealed in it."""

    @abstractmethod
    def head(self) -> tuple[object, object, object, object] | None:
        """Vault id, key id, generation, sealed head; none where the vault moved away."""

    @abstractmethod
    def write_head(self, key_id: str, generation: int, sealed: bytes) -> None: ...

    @abstractmethod
    def directory(self, name: ColumnName) -> tuple[int, object, object] | None:
        """Column id, generation, sealed directory."""

    @abstractmethod
    def column(self, name: ColumnName, generation: int) -> int:
        """The id of a column, which is made when it is new."""

    @abstractmethod
    def write_directory(self, column_id: int, generation: int, sealed: bytes) -> None: ...

    @abstractmethod
    def pages(self, column_id: int, numbers: Sequence[int]) -> Mapping[int, tuple[object, object]]:
        """Generation and sealed records of those pages that are there."""

    @abstractmethod
    def write_pages(self, column_id: int, pages: Sequence[tuple[int, int, bytes]]) -> None:
        """Number, generation and sealed records of each; one of that number is replaced."""

    @abstractmethod
    def cut(self, column_id: int, pages: int) -> None:
        """Drop every page from that number on."""

    @abstractmethod
    def retire(self) -> None:
        """Leave nothing but that the vault moved away."""


class VaultStorage(ABC):
    """One vault's home. Every transaction may raise GOV-307 (damaged) and GOV-724 (it cannot be used)."""

    where: str
    """For messages; no credentials are in it."""

    @abstractmethod
    def format(self) -> int | None:
        """The format that the vault was written in; None where there is none."""

    @abstractmethod
    def creating(self) -> AbstractContextManager[VaultRows]:
        """A first transaction, in which tables exist; GOV-901 if a vault is there."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[VaultRows]:
        """One consistent snapshot."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[VaultRows]:
        """The only writer among all processes; committed and durable on leaving, else undone."""

    @abstractmethod
    def arriving(self) -> AbstractContextManager[VaultRows]:
        """Where a copy of a vault is written before it is one; what a killed move left is cleared first.

        GOV-901 where the vault itself lies there.
        """

    @abstractmethod
    def arrive(self) -> None:
        """Make the copy the vault of its directory; again is harmless. The former one must be retired before."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection; the next transaction opens another."""
