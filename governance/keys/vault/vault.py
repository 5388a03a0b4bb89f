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
AES-256-CMACs of their identifiers under a key of its own, so that they do not come back unless they ask to.
``restricted`` (8 B, little-endian) are ordinals whose rows a legal hold keeps: their link stays, and nobody
may read them.

Format 1, ``vault.sqlite`` (WAL, ``synchronous=FULL``, mode 0600), or in PostgreSQL the tables
``governance_vault``, ``_vault_column`` and ``_vault_page``, each row with the vault id that ``vault.name`` holds::

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
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from governance.errors import ProtectionError, SettingError
from governance.keys.cmac import cmac
from governance.keys.sealing import Secretive
from governance.keys.store import Keyring
from governance.keys.usage import Usage
from governance.keys.vault.blind_index import BlindIndex
from governance.keys.vault.identifiers import distinct
from governance.keys.vault.pages import WIDTHS, Cached, Head, Pages, overwritten
from governance.keys.vault.rows import FORMAT, ColumnName, VaultRows, VaultStorage
from governance.keys.vault.storage import new_storage, storage_of

Bytes = npt.NDArray[np.uint8]
Ordinals = npt.NDArray[np.int64]

_SENSITIVITY = "restricted"
_SUBJECT_KINDS = ("index", "internal", "secret")
_OF_SUBJECTS = (*_SUBJECT_KINDS, "pseudonym")


class SubjectVault(Secretive):
    """Bulk lookups and pseudonyms. Many processes may use one vault; threads may share an object.

    Every method may raise GOV-307 (a sealed part was altered, dropped or rolled back) and GOV-724
    (its storage cannot be used).
    """

    __slots__ = ("_indexes", "_keyring", "_pages", "_storage")

    def __init__(self, storage: VaultStorage, keyring: Keyring) -> None:
        self._storage = storage
        self._keyring = keyring
        self._pages = Pages(keyring.segment_key, storage.where)
        self._indexes: dict[ColumnName, tuple[Cached, BlindIndex]] = {}

    @classmethod
    def create(cls, directory: Path, keyring: Keyring, *, postgres: str | None = None) -> SubjectVault:
        """Make an empty vault.

        Args:
            postgres: connection string of the database that is to hold it; else SQLite does.

        Raises:
            SettingError: GOV-901 if there is one.
        """
        identity = secrets.token_hex(8)
        storage = new_storage(directory, postgres, identity)
        vault = cls(storage, keyring)
        with storage.creating() as rows:
            key_id = keyring.new_segment_key(_segment(identity, 1), _SENSITIVITY)
            rows.enter(identity, key_id, FORMAT)
            writer = vault._pages.sealing_with(keyring.segment_key(key_id))
            writer.write_head(rows, Head(identity, key_id, 1, 0, {}))
        return vault

    @classmethod
    def open(cls, directory: Path, keyring: Keyring, *, postgres: str | None = None) -> SubjectVault:
        """Open a vault.

        Args:
            postgres: connection string of the database that holds it, if it is not in SQLite.

        Raises:
            ProtectionError: GOV-307 if there is none, or if its key was destroyed: it is a copy from
                before an erasure.
            SettingError: GOV-901 if it was written by a later format.
        """
        storage = storage_of(directory, postgres)
        written = storage.format()
        if written is None:
            raise ProtectionError(
                "GOV-307",
                f"there is no subject vault in {storage.where}",
                "restore the newest backup, or create one if this deployment never had it",
            )
        if written != FORMAT:
            raise SettingError(
                "GOV-901", f"the vault is not of format {FORMAT}, which this release reads", "upgrade"
            )
        vault = cls(storage, keyring)
        try:
            vault.expects(0)
        except ProtectionError as error:
            storage.close()
            if error.code != "GOV-303":
                raise
            raise ProtectionError(
                "GOV-307",
                f"the subject vault {storage.where} is sealed under a key this key store lacks or destroyed",
                "it is a copy from before an erasure, or another deployment's: restore the newest one",
            ) from None
        return vault

    @property
    def generation(self) -> int:
        """How many transactions wrote this vault; never falls."""
        with self._storage.reading() as rows:
            return self._pages.refresh(rows).generation

    @property
    def tombstones(self) -> int:
        """How many of the log's tombstones this vault has carried out."""
        with self._storage.reading() as rows:
            return self._pages.refresh(rows).tombstones

    @property
    def usage(self) -> Usage:
        """How often the key that this vault is sealed under has sealed."""
        with self._storage.reading() as rows:
            head = self._pages.refresh(rows)
        return Usage(head.key_id, head.seals)

    @property
    def retired(self) -> tuple[str, ...]:
        """The segment ids of every key this vault was sealed under before, dead already or not."""
        with self._storage.reading() as rows:
            head = self._pages.refresh(rows)
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
            create: give subjects that are not known yet an ordinal, pseudonym and secret, unless suppressed.

        Returns:
            int64, one a row; -1 where the identifier is null, empty, suppressed or (without
            ``create``) unknown.

        Raises:
            ProtectionError: GOV-304 if the column's type cannot name subjects.
        """
        codes, unique = distinct(identifiers)
        if not len(unique):
            return codes
        with self._storage.reading() as rows:
            marks = self._marks(self._pages.refresh(rows), "index", domain, unique)
            ordinals = self._find(rows, ColumnName("index", domain), marks)
        unknown = np.flatnonzero(ordinals < 0)
        if create and unknown.size:
            ordinals[unknown] = self._enrol(domain, marks[unknown], unique.take(pa.array(unknown)))
        return np.append(ordinals, -1)[codes]

    def suppressed(self, domain: str, identifiers: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.bool_]:
        """Which identifiers are on the domain's suppression list. Raises as :meth:`resolve`."""
        codes, unique = distinct(identifiers)
        with self._storage.reading() as rows:
            found = self._barred(rows, self._pages.refresh(rows), domain, unique)
        return np.append(found, False)[codes]

    def suppression_marks(self, domain: str, identifiers: pa.Array) -> Bytes:
        """What the suppression list holds of identifiers in normal form, shape (n, 16)."""
        with self._storage.reading() as rows:
            return self._marks(self._pages.refresh(rows), "suppression", domain, identifiers)

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
            with self._storage.writing() as rows:
                head = self._pages.refresh(rows)
                missing = (
                    self._pages.column(rows, ColumnName("internal", domain)).count
                    - self._pages.column(rows, name).count
                )
                if missing > 0:
                    records = _random(missing, WIDTHS[name.kind])
                    self._pages.append(rows, name, records, head.generation + 1)
                    self._publish(rows, head, [name])
        return self._taken(name, ordinals)

    def reseal(
        self,
        erased: Mapping[str, Ordinals] | None = None,
        *,
        suppressed: Mapping[str, Bytes] | None = None,
        readmitted: Mapping[str, Bytes] | None = None,
        restricted: Mapping[str, Ordinals] | None = None,
        tombstones: int | None = None,
    ) -> tuple[str, ...]:
        """Seal every page under a new key, and erase subjects in it.

        Args:
            erased: ordinals by domain whose index, pseudonyms and secret are overwritten.
            suppressed: marks by domain that join the suppression list; ``readmitted`` leave it.
            restricted: ordinals by domain, in place of those that were restricted before.
            tombstones: how many of the log's tombstones are carried out then; default, as before.

        Returns:
            :attr:`retired`. Hand them to :meth:`Keyring.destroy_segment_keys`: only then are older
            copies of the vault unreadable.
        """
        erased, none = erased or {}, np.empty(0, np.int64)
        with self._storage.writing() as rows:
            head = self._pages.refresh(rows)
            segment = _segment(head.vault, _number(head.key_id) + 1)
            key_id = self._keyring.new_segment_key(segment, _SENSITIVITY)
            writer = self._pages.sealing_with(self._keyring.segment_key(key_id))
            generation = head.generation + 1
            lists = self._lists(rows, suppressed or {}, readmitted or {}, restricted or {})
            for name, records in lists.items():
                writer.write_column(rows, name, records, generation)
            for name in head.columns.keys() - lists.keys():
                directory = self._pages.directory(rows, name)
                count = len(directory.generations)
                gone = np.unique(erased.get(name.domain, none)) if name.kind in _OF_SUBJECTS else none
                held = self._pages.pages(rows, name, directory, list(range(count)))
                blank = _random(gone.size, 16) if name.kind == "index" else np.zeros((gone.size, 1), np.uint8)
                after = ((number, overwritten(page, number, gone, blank)) for number, page in held)
                writer.write_pages(rows, name, directory.column_id, after, generation)
                sealed_at = np.full(count, generation, np.uint64)
                directory = directory._replace(generations=sealed_at)
                writer.write_directory(rows, name, directory, generation)
            applied = head.tombstones if tombstones is None else max(tombstones, head.tombstones)
            columns = dict.fromkeys([*head.columns, *lists], generation)
            writer.write_head(rows, Head(head.vault, key_id, generation, applied, columns))
        return self.retired

    def close(self) -> None:
        """Forget what was read and close the file; the next call opens it again."""
        self._pages = Pages(self._keyring.segment_key, self._storage.where)
        self._indexes.clear()
        self._storage.close()

    def _lists(
        self,
        rows: VaultRows,
        suppressed: Mapping[str, Bytes],
        readmitted: Mapping[str, Bytes],
        restricted: Mapping[str, Ordinals],
    ) -> dict[ColumnName, Bytes]:
        lists: dict[ColumnName, Bytes] = {}
        for domain, marks in suppressed.items():
            name = ColumnName("suppressed", domain)
            held = self._pages.column(rows, name).records
            new = np.unique(marks[self._find(rows, name, marks) < 0], axis=0)
            lists[name] = np.concatenate([held, new])
        for domain, marks in readmitted.items():
            name = ColumnName("suppressed", domain)
            found = self._find(rows, name, marks)
            lists[name] = np.delete(self._pages.column(rows, name).records, found[found >= 0], axis=0)
        for domain, ordinals in restricted.items():
            records = np.ascontiguousarray(ordinals, "<i8").view(np.uint8).reshape(-1, 8)
            lists[ColumnName("restricted", domain)] = records
        return lists

    def _barred(
        self, rows: VaultRows, head: Head, domain: str, identifiers: pa.Array
    ) -> npt.NDArray[np.bool_]:
        name = ColumnName("suppressed", domain)
        if name not in head.columns:
            return np.zeros(len(identifiers), bool)
        return self._find(rows, name, self._marks(head, "suppression", domain, identifiers)) >= 0

    def _enrol(self, domain: str, marks: Bytes, identifiers: pa.Array) -> Ordinals:
        """Give ordinals to subjects that are unknown, and not suppressed, once nobody else can write."""
        names = [ColumnName(kind, domain) for kind in _SUBJECT_KINDS]
        with self._storage.writing() as rows:
            head = self._pages.refresh(rows)
            ordinals = self._find(rows, names[0], marks)
            new = np.flatnonzero((ordinals < 0) & ~self._barred(rows, head, domain, identifiers))
            if new.size:
                count = self._pages.column(rows, names[0]).count
                ordinals[new] = np.arange(count, count + new.size)
                drawn = (marks[new], *(_random(new.size, WIDTHS[name.kind]) for name in names[1:]))
                for name, records in zip(names, drawn, strict=True):
                    self._pages.append(rows, name, records, head.generation + 1)
                self._publish(rows, head, names)
        return ordinals

    def _publish(self, rows: VaultRows, head: Head, names: list[ColumnName]) -> None:
        generation = head.generation + 1
        columns = head.columns | dict.fromkeys(names, generation)
        self._pages.write_head(rows, head._replace(generation=generation, columns=columns))

    def _find(self, rows: VaultRows, name: ColumnName, marks: Bytes) -> Ordinals:
        column = self._pages.column(rows, name)
        held = self._indexes.get(name)
        if held is None or held[0] is not column:
            held = self._indexes[name] = (column, BlindIndex())
        held[1].extend(column.records)
        return held[1].find(column.records, marks)

    def _marks(self, head: Head, use: str, domain: str, identifiers: pa.Array) -> Bytes:
        return cmac(self._keyring.secret(f"vault {head.vault} {use} {domain}"), identifiers)

    def _records(self, name: ColumnName) -> Bytes:
        with self._storage.reading() as rows:
            self._pages.refresh(rows)
            return self._pages.column(rows, name).records

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
