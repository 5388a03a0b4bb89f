-- Markers of the newest entries, in order of arrival; see governance/log/sqlite_markers.py.
CREATE TABLE recent (
    digest BLOB NOT NULL,
    idx    INTEGER PRIMARY KEY
) STRICT;
