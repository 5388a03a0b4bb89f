CREATE TABLE governance_log_meta (
    name  text PRIMARY KEY,
    value bytea NOT NULL
);

CREATE TABLE governance_log_entry (
    idx   bigint PRIMARY KEY,
    nodes bytea NOT NULL,
    leaf  bytea NOT NULL,
    salt  bytea,
    body  bytea
);

CREATE TABLE governance_log_marker (
    digest bytea PRIMARY KEY,
    idx    bigint NOT NULL
);

CREATE TABLE governance_log_redaction (
    idx     bigint PRIMARY KEY,
    leaf    bigint NOT NULL,
    refusal bytea NOT NULL
);
CREATE INDEX governance_log_redaction_refusal ON governance_log_redaction (refusal);

CREATE TABLE governance_log_checkpoint (
    size bigint PRIMARY KEY,
    note text NOT NULL
);
