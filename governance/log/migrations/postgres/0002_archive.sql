-- Entries from `first` to before `stop` whose bodies lie in `file`; what `leaf` says about it is under the hash.
CREATE TABLE governance_log_archive (
    first   bigint PRIMARY KEY,
    stop    bigint NOT NULL,
    leaf    bigint NOT NULL,
    file    text NOT NULL,
    folder  text NOT NULL,
    emptied boolean NOT NULL,
    pruned  bigint
);

-- Archive files that something newer replaced and that are still to be deleted.
CREATE TABLE governance_log_leftover (
    path text PRIMARY KEY
);
