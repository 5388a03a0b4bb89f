-- Entries from `first` to before `stop` whose bodies lie in `file`; what `leaf` says about it is under the hash.
CREATE TABLE archive (
    first   INTEGER PRIMARY KEY,
    stop    INTEGER NOT NULL,
    leaf    INTEGER NOT NULL,
    file    TEXT NOT NULL,
    folder  TEXT NOT NULL,
    emptied INTEGER NOT NULL,
    pruned  INTEGER
) STRICT;

-- Archive files that something newer replaced and that are still to be deleted.
CREATE TABLE leftover (
    path TEXT PRIMARY KEY
) STRICT;
