"""The subject vault: who a subject is called, by whom, and under which secret.

A subject of a *domain* (``patient``, ``customer``) has an *ordinal*, counted from 0 and never used
again, and per ordinal

======== ===== ===========================================================================
index    16 B  AES-256-CMAC of the normalised identifier under a key of the vault and domain
internal 16 B  random pseudonym that consent and lineage key on; never leaves
secret   32 B  random, for what is sealed once under the subject
======== ===== ===========================================================================

and per *audience* that sees it (a dataset, a recipient) a ``pseudonym`` of 16 random bytes. None is a hash
of an identifier (45 CFR §164.514(c), EDPB Guidelines 01/2025): without the vault a pseudonym leads nowhere.
Identifiers themselves are not stored.

Of subjects that were erased two lists remain, per domain. ``suppressed`` (16 B) is the *suppression list*:
AES-256-CMACs of their identifiers under a key of its own, so that they do not come back with the next load.
``restricted`` (8 B, little-endian) are ordinals whose rows a legal hold keeps: their link stays, and nobody
may read them.

Format 1, ``vault.sqlite`` (WAL, ``synchronous=FULL``, mode 0600)::

    vault    one row: format, vault id, key id, generation, sealed head
    columns  kind, domain, audience, generation, sealed directory
    pages    column, number, generation, sealed records

- A column is an array of fixed-width records in ordinal order, cut into pages of 4,096 records; the last
  may be shorter.
- Sealed is AES-256-GCM, ``nonce (12) ‖ ciphertext ‖ tag (16)``, under the segment key the head names,
  ``seg.vault-<vault id>-<n>.restricted``. It is wrapped under the epoch like any other, so a rotation does
  not touch the vault, and destroying it kills every copy sealed with it.
- Contexts (additional data), as canonical JSON lists: page ``["governance vault page v1", vault id, kind,
  domain, audience, number, generation]``, directory ``["governance vault column v1", vault id, kind,
  domain, audience, generation]``, head ``["governance vault head v1", vault id, key id, generation]``.
- The *generation* counts write transactions. A directory is the record count and the generation of each
  page, as little-endian uint64; the head is canonical JSON ``{"tombstones": n, "seals": n, "columns":
  [[kind, domain, audience, generation], …]}``. So a page, a column or a row that is missing, moved or older
  than the head is noticed. An older vault as a whole is noticed by :meth:`expects`.
- A record changes only when the whole vault is sealed under a new key, as an erasure does: its index
  becomes random, the rest zero. *tombstones* is how many of the log's it has carried out, *seals* how often
  its key has sealed. The two lists are written whole then.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from governance.errors import ProtectionError, SettingError
from governance.keys.blind_index import BlindIndex
from governance.keys.cmac import cmac
from governance.keys.database import Database
from governance.keys.identifiers import distinct
from governance.keys.pages import PAGE_RECORDS, SCHEMA, WIDTHS, Cached, ColumnName, Head, Pages
from governance.keys.sealing import Secretive
from governance.keys.store import Keyring
from governance.keys.usage import Usage

Bytes = npt.NDArray[np.uint8]
Ordinals = npt.NDArray[np.int64]

_FORMAT = 1
_FILE = "vault.sqlite"
_SENSITIVITY = "restricted"
_SUBJECT_KINDS = ("index", "internal", "secret")
_OF_SUBJECTS = (*_SUBJECT_KINDS, "pseudonym")


class SubjectVault(Secretive):
    """Bulk lookups and pseudonyms. Many processes may use one vault; threads may share an object.

    Every method may raise GOV-307 (a sealed part was altered, dropped or rolled back) and GOV-724
    (the file cannot be used).
    """

    __slots__ = ("_database", "_indexes", "_keyring", "_pages")

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring
        self._pages = Pages(keyring.segment_key, str(database.path))
        self._indexes: dict[ColumnName, tuple[Cached, BlindIndex]] = {}

    @classmethod
    def create(cls, directory: Path, keyring: Keyring) -> SubjectVault:
        """Make an empty vault; raises GOV-901 if there is one."""
        database = Database(directory / _FILE, "GOV-307")
        database.create()
        vault = cls(database, keyring)
        identity = secrets.token_hex(8)
        with database.writing() as connection:
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'vault'").fetchall():
                raise SettingError(
                    "GOV-901", f"there is a subject vault in {directory}", "open it, or choose another place"
                )
            key_id = keyring.new_segment_key(_segment(identity, 1), _SENSITIVITY)
            for statement in SCHEMA:
                connection.execute(statement)
            connection.execute("INSERT INTO vault VALUES (1, ?, ?, ?, 0, x'')", (_FORMAT, identity, key_id))
            writer = vault._pages.sealing_with(keyring.segment_key(key_id))
            writer.write_head(connection, Head(identity, key_id, 1, 0, {}))
        return vault

    @classmethod
    def open(cls, directory: Path, keyring: Keyring) -> SubjectVault:
        """Open a vault.

        Raises:
            ProtectionError: GOV-307 if there is none, or if its key was destroyed: it is a copy from
                before an erasure.
            SettingError: GOV-901 if it was written by a later format.
        """
        database = Database(directory / _FILE, "GOV-307")
        rows = []
        if database.path.is_file():
            with database.reading() as connection:
                if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'vault'").fetchall():
                    rows = connection.execute("SELECT format FROM vault").fetchall()
        if not rows:
            raise ProtectionError(
                "GOV-307",
                f"there is no subject vault in {directory}",
                "restore the newest backup, or create one if this deployment never had it",
            )
        if rows[0][0] != _FORMAT:
            raise SettingError(
                "GOV-901", f"the vault has format {rows[0][0]}, this release reads {_FORMAT}", "upgrade"
            )
        vault = cls(database, keyring)
        try:
            vault.expects(0)
        except ProtectionError as error:
            database.close()
            if error.code != "GOV-303":
                raise
            raise ProtectionError(
                "GOV-307",
                f"the subject vault {database.path} is sealed under a key this key store lacks or destroyed",
                "it is a copy from before an erasure, or another deployment's: restore the newest one",
            ) from None
        return vault

    @property
    def generation(self) -> int:
        """How many transactions wrote this vault; never falls."""
        with self._database.reading() as connection:
            return self._pages.refresh(connection).generation

    @property
    def tombstones(self) -> int:
        """How many of the log's tombstones this vault has carried out."""
        with self._database.reading() as connection:
            return self._pages.refresh(connection).tombstones

    @property
    def usage(self) -> Usage:
        """How often the key that this vault is sealed under has sealed."""
        with self._database.reading() as connection:
            head = self._pages.refresh(connection)
        return Usage(head.key_id, head.seals)

    @property
    def retired(self) -> tuple[str, ...]:
        """The segment ids of every key this vault was sealed under before, dead already or not."""
        with self._database.reading() as connection:
            head = self._pages.refresh(connection)
        return tuple(_segment(head.vault, number) for number in range(1, _number(head.key_id)))

    def expects(self, tombstones: int) -> None:
        """Refuse a vault that has not carried out ``tombstones`` of the log's tombstones: GOV-307."""
        applied = self.tombstones
        if applied < tombstones:
            raise ProtectionError(
                "GOV-307",
                f"the subject vault is behind the log: {applied} of {tombstones} tombstones are in it",
                "restore the newest vault, or carry out the erasures that the log lists again",
            )

    def resolve(self, domain: str, identifiers: pa.Array | pa.ChunkedArray, *, create: bool) -> Ordinals:
        """Ordinals of subjects.

        Args:
            domain: subjects of different domains have nothing in common.
            identifiers: integers, or strings without regard to surrounding white space.
            create: give subjects that are not known yet an ordinal, pseudonym and secret, unless
                they are on the suppression list.

        Returns:
            int64, one a row; -1 where the identifier is null, empty, suppressed or (without
            ``create``) unknown.

        Raises:
            ProtectionError: GOV-304 if the column's type cannot name subjects.
        """
        codes, unique = distinct(identifiers)
        if not len(unique):
            return codes
        with self._database.reading() as connection:
            marks = self._marks(self._pages.refresh(connection), "index", domain, unique)
            ordinals = self._find(connection, ColumnName("index", domain), marks)
        unknown = np.flatnonzero(ordinals < 0)
        if create and unknown.size:
            ordinals[unknown] = self._enrol(domain, marks[unknown], unique.take(pa.array(unknown)))
        return np.append(ordinals, -1)[codes]

    def suppressed(self, domain: str, identifiers: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.bool_]:
        """Which identifiers are on the domain's suppression list. Raises as :meth:`resolve`."""
        codes, unique = distinct(identifiers)
        with self._database.reading() as connection:
            found = self._barred(connection, self._pages.refresh(connection), domain, unique)
        return np.append(found, False)[codes]

    def suppression_marks(self, domain: str, identifiers: pa.Array) -> Bytes:
        """What the suppression list holds of identifiers in normal form, shape (n, 16)."""
        with self._database.reading() as connection:
            return self._marks(self._pages.refresh(connection), "suppression", domain, identifiers)

    def restricted(self, domain: str) -> Ordinals:
        """Ordinals of subjects whose erasure waits for a legal hold to end."""
        return self._records(ColumnName("restricted", domain)).view("<i8").reshape(-1).astype(np.int64)

    def internal(self, domain: str) -> Bytes:
        """The internal pseudonyms, shape (n, 16), in ordinal order, read-only; zero if erased."""
        return self._records(ColumnName("internal", domain))

    def secrets(self, domain: str, ordinals: Ordinals) -> Bytes:
        """The subjects' secrets, shape (m, 32); zero if erased."""
        return self._taken(ColumnName("secret", domain), ordinals)

    def pseudonyms(self, domain: str, audience: str, ordinals: Ordinals, *, create: bool = True) -> Bytes:
        """The subjects' pseudonyms for one audience, shape (m, 16).

        The row of an ordinal -1 is zero. Two audiences cannot link their pseudonyms.

        Raises:
            ProtectionError: GOV-307 if there is none yet and ``create`` is false.
        """
        name = ColumnName("pseudonym", domain, audience)
        if create and ordinals.size and int(ordinals.max()) >= len(self._records(name)):
            with self._database.writing() as connection:
                head = self._pages.refresh(connection)
                missing = (
                    self._pages.column(connection, ColumnName("internal", domain)).count
                    - self._pages.column(connection, name).count
                )
                if missing > 0:
                    records = _random(missing, WIDTHS[name.kind])
                    self._pages.append(connection, name, records, head.generation + 1)
                    self._publish(connection, head, [name])
        return self._taken(name, ordinals)

    def reseal(
        self,
        erased: Mapping[str, Ordinals] | None = None,
        *,
        suppressed: Mapping[str, Bytes] | None = None,
        restricted: Mapping[str, Ordinals] | None = None,
        tombstones: int | None = None,
    ) -> tuple[str, ...]:
        """Seal every page under a new key, and erase subjects in it.

        Args:
            erased: ordinals by domain whose index, pseudonyms and secret are overwritten.
            suppressed: marks by domain that join the suppression list.
            restricted: ordinals by domain, in place of those that were restricted before.
            tombstones: how many of the log's tombstones are carried out then; default, as before.

        Returns:
            :attr:`retired`. Hand them to :meth:`Keyring.destroy_segment_keys`: only then are older
            copies of the vault unreadable.
        """
        erased, none = erased or {}, np.empty(0, np.int64)
        with self._database.writing() as connection:
            head = self._pages.refresh(connection)
            segment = _segment(head.vault, _number(head.key_id) + 1)
            key_id = self._keyring.new_segment_key(segment, _SENSITIVITY)
            writer = self._pages.sealing_with(self._keyring.segment_key(key_id))
            generation = head.generation + 1
            lists = self._lists(connection, suppressed or {}, restricted or {})
            for name, records in lists.items():
                writer.write_column(connection, name, records, generation)
            for name in head.columns.keys() - lists.keys():
                directory = self._pages.directory(connection, name)
                gone = np.unique(erased.get(name.domain, none)) if name.kind in _OF_SUBJECTS else none
                for number in range(len(directory.generations)):
                    page = self._pages.page(connection, name, directory, number)
                    inside = gone - number * PAGE_RECORDS
                    inside = inside[(inside >= 0) & (inside < len(page))]
                    if inside.size:
                        page = page.copy()
                        page[inside] = _random(inside.size, 16) if name.kind == "index" else 0
                    writer.write_page(connection, name, directory.column_id, number, page, generation)
                sealed_at = np.full(len(directory.generations), generation, np.uint64)
                directory = directory._replace(generations=sealed_at)
                writer.write_directory(connection, name, directory, generation)
            applied = head.tombstones if tombstones is None else max(tombstones, head.tombstones)
            columns = dict.fromkeys([*head.columns, *lists], generation)
            writer.write_head(connection, Head(head.vault, key_id, generation, applied, columns))
        return self.retired

    def close(self) -> None:
        """Forget what was read and close the file; the next call opens it again."""
        self._pages = Pages(self._keyring.segment_key, str(self._database.path))
        self._indexes.clear()
        self._database.close()

    def _lists(
        self,
        connection: sqlite3.Connection,
        suppressed: Mapping[str, Bytes],
        restricted: Mapping[str, Ordinals],
    ) -> dict[ColumnName, Bytes]:
        lists: dict[ColumnName, Bytes] = {}
        for domain, marks in suppressed.items():
            name = ColumnName("suppressed", domain)
            held = self._pages.column(connection, name).records
            new = np.unique(marks[self._find(connection, name, marks) < 0], axis=0)
            lists[name] = np.concatenate([held, new])
        for domain, ordinals in restricted.items():
            records = np.ascontiguousarray(ordinals, "<i8").view(np.uint8).reshape(-1, 8)
            lists[ColumnName("restricted", domain)] = records
        return lists

    def _barred(
        self, connection: sqlite3.Connection, head: Head, domain: str, identifiers: pa.Array
    ) -> npt.NDArray[np.bool_]:
        name = ColumnName("suppressed", domain)
        if name not in head.columns:
            return np.zeros(len(identifiers), bool)
        return self._find(connection, name, self._marks(head, "suppression", domain, identifiers)) >= 0

    def _enrol(self, domain: str, marks: Bytes, identifiers: pa.Array) -> Ordinals:
        """Give ordinals to subjects that are unknown, and not suppressed, once nobody else can write."""
        names = [ColumnName(kind, domain) for kind in _SUBJECT_KINDS]
        with self._database.writing() as connection:
            head = self._pages.refresh(connection)
            ordinals = self._find(connection, names[0], marks)
            new = np.flatnonzero((ordinals < 0) & ~self._barred(connection, head, domain, identifiers))
            if new.size:
                count = self._pages.column(connection, names[0]).count
                ordinals[new] = np.arange(count, count + new.size)
                drawn = (marks[new], *(_random(new.size, WIDTHS[name.kind]) for name in names[1:]))
                for name, records in zip(names, drawn, strict=True):
                    self._pages.append(connection, name, records, head.generation + 1)
                self._publish(connection, head, names)
        return ordinals

    def _publish(self, connection: sqlite3.Connection, head: Head, names: list[ColumnName]) -> None:
        generation = head.generation + 1
        columns = head.columns | dict.fromkeys(names, generation)
        self._pages.write_head(connection, head._replace(generation=generation, columns=columns))

    def _find(self, connection: sqlite3.Connection, name: ColumnName, marks: Bytes) -> Ordinals:
        column = self._pages.column(connection, name)
        held = self._indexes.get(name)
        if held is None or held[0] is not column:
            held = self._indexes[name] = (column, BlindIndex())
        held[1].extend(column.records)
        return held[1].find(column.records, marks)

    def _marks(self, head: Head, use: str, domain: str, identifiers: pa.Array) -> Bytes:
        return cmac(self._keyring.secret(f"vault {head.vault} {use} {domain}"), identifiers)

    def _records(self, name: ColumnName) -> Bytes:
        with self._database.reading() as connection:
            self._pages.refresh(connection)
            return self._pages.column(connection, name).records

    def _taken(self, name: ColumnName, ordinals: Ordinals) -> Bytes:
        records, width = self._records(name), WIDTHS[name.kind]
        if ordinals.size and int(ordinals.max()) >= len(records):
            raise self._pages.damaged(
                f"its {name.kind} column of domain {name.domain} lacks subjects asked for"
            )
        if not len(records):
            return np.zeros((len(ordinals), width), np.uint8)
        # Gathering whole records as opaque values is several times faster than rows of bytes.
        taken = records.view(f"V{width}").reshape(-1)[ordinals].view(np.uint8).reshape(-1, width)
        taken[ordinals < 0] = 0
        return taken


def _segment(vault: str, number: int) -> str:
    return f"vault-{vault}-{number}"


def _number(key_id: str) -> int:
    return int(key_id.split(".")[1].rpartition("-")[2])


def _random(records: int, width: int) -> Bytes:
    return np.frombuffer(os.urandom(records * width), np.uint8).reshape(records, width)
