"""Bodies that left the database: files that still verify, and how long they are kept."""
