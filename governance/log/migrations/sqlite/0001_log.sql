-- Rows of `entry` are only ever appended at the right edge or overwritten by bytes of the same length,
-- so SQLite never moves one and no stale copy of a removed body stays behind on a page.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE entry (
    idx   INTEGER PRIMARY KEY,
    nodes BLOB NOT NULL,
    leaf  BLOB NOT NULL,
    salt  BLOB NOT NULL,
    body  BLOB NOT NULL
) STRICT;

CREATE TABLE marker (
    digest BLOB PRIMARY KEY,
    idx    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE redaction (
    idx     INTEGER PRIMARY KEY,
    leaf    INTEGER NOT NULL,
    refusal BLOB NOT NULL
) STRICT;
CREATE INDEX redaction_refusal ON redaction (refusal);

CREATE TABLE checkpoint (
    size INTEGER PRIMARY KEY,
    note TEXT NOT NULL
) STRICT;
