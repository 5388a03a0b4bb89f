"""Where SQLite keeps duplicate markers: the newest by arrival, the others by digest.

A marker is random. Written straight into an index by digest each one would rewrite a page of its own, about
as large as the event it belongs to. So the newest lie in the table ``recent``, which an append only extends,
and are found through a dictionary; now and then all of them move to ``marker`` at once, many to a page.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import TypeVar

from governance.log.storage import NewRow

RECENT = 16_384
"""How many entries ``recent`` spans before they move: about 2 MB in the dictionary."""

# At most so many rows a statement, and as few statements as can be: after each of them other threads may
# have taken the interpreter's lock.
ROWS = 64
_INSERTS = {n: "INSERT INTO recent VALUES " + ",".join(["(?,?)"] * n) for n in range(1, ROWS + 1)}
_FINDS = {
    n: f"SELECT digest, idx FROM marker WHERE digest IN ({','.join('?' * n)})" for n in range(1, ROWS + 1)
}
STATEMENTS = 5 * ROWS
"""How many prepared statements a connection keeps."""

T = TypeVar("T")


class RecentMarkers:
    """What the writing connection knows of ``recent``.

    It may know more than the table holds: what another process moved since, and a marker whose entry was
    redacted, whose body is refused before anyone asks where it is.
    """

    def __init__(self) -> None:
        self._places: dict[bytes, int] = {}
        self._read = 0
        self._first = 0

    def known(
        self, connection: sqlite3.Connection, digests: Sequence[bytes], first: int | None, size: int
    ) -> dict[bytes, int]:
        """Which digests are kept, inside a turn that found ``size`` entries and ``recent`` from ``first`` on."""
        self._catch_up(connection, size if first is None else first, size)
        return self.among(connection, digests)

    def among(self, connection: sqlite3.Connection, digests: Sequence[bytes]) -> dict[bytes, int]:
        """As :meth:`known`, where nobody else wrote since that or since :meth:`learn`."""
        found = {digest: self._places[digest] for digest in digests if digest in self._places}
        return found | in_marker(connection, digests)

    def learn(self, rows: Sequence[NewRow]) -> None:
        """Rows of a turn that held, so that they need not be read again."""
        self._places.update([(row.marker, row.place) for row in rows])
        self._read = rows[-1].place + 1

    def add(self, connection: sqlite3.Connection, rows: Sequence[NewRow]) -> bool:
        """Keep the markers of new rows; the dictionary learns of them later, if this turn holds.

        Returns:
            Whether all of ``recent`` moved.
        """
        for part in parts(rows):
            connection.execute(
                _INSERTS[len(part)], [value for row in part for value in (row.marker, row.place)]
            )
        if rows[-1].place - self._first >= RECENT:
            # A marker that was tampered with is for `log verify` to find; appends go on.
            connection.execute("INSERT OR IGNORE INTO marker SELECT digest, idx FROM recent ORDER BY digest")
            connection.execute("DELETE FROM recent")
            return True
        return False

    def _catch_up(self, connection: sqlite3.Connection, first: int, size: int) -> None:
        if size < self._read or first < self._first:
            self._places, self._read, self._first = {}, 0, 0
        if first > self._first:
            self._places = {digest: index for digest, index in self._places.items() if index >= first}
            self._first = first
        self._places.update(
            connection.execute("SELECT digest, idx FROM recent WHERE idx >= ?", (self._read,))
        )
        self._read = size


class MarkersRead:
    """What a reading connection needs: ``recent`` as a dictionary, read again whenever the store changed."""

    def __init__(self) -> None:
        self._version: int | None = None
        self._recent: dict[bytes, int] = {}

    def places(self, connection: sqlite3.Connection, digests: Sequence[bytes]) -> dict[bytes, int]:
        """Which digests are kept. What moves meanwhile is seen in one table or in both, never in none."""
        [version] = connection.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._recent = dict(connection.execute("SELECT digest, idx FROM recent"))
            self._version = version
        found = {digest: self._recent[digest] for digest in digests if digest in self._recent}
        return found | in_marker(connection, digests)


def in_marker(connection: sqlite3.Connection, digests: Sequence[bytes]) -> dict[bytes, int]:
    """Which digests are in the table ``marker``."""
    found: dict[bytes, int] = {}
    for part in parts(digests):
        found.update(connection.execute(_FINDS[len(part)], part))
    return found


def parts(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut rows into pieces for which there is a statement."""
    for start in range(0, len(rows), ROWS):
        yield rows[start : start + ROWS]
