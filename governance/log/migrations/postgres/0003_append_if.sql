-- One round trip for an append that nothing speaks against. Being volatile, the function takes a snapshot for
-- each statement under READ COMMITTED: those after the lock see what the turn before committed.
CREATE FUNCTION governance_log_append_if(
    turn_lock int, size bigint, newest bytea, refusals bytea[],
    new_nodes bytea[], new_leaves bytea[], new_salts bytea[], new_bodies bytea[], new_markers bytea[]
) RETURNS boolean LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
DECLARE
    found_size bigint := 0;
    found_newest bytea := '';
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'governance_log_append_if needs read committed' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    PERFORM pg_advisory_xact_lock(turn_lock, 'governance_log_entry'::regclass::oid::int);
    SELECT e.idx + 1, e.nodes INTO found_size, found_newest
        FROM governance_log_entry e ORDER BY e.idx DESC LIMIT 1;
    IF coalesce(found_size, 0) <> size OR coalesce(found_newest, '') <> newest
        OR EXISTS (SELECT FROM governance_log_marker m WHERE m.digest = ANY (new_markers))
        OR EXISTS (SELECT FROM governance_log_redaction r WHERE r.refusal = ANY (refusals))
    THEN
        RETURN false;
    END IF;
    INSERT INTO governance_log_entry
        SELECT size + n - 1, node, leaf, salt, body
        FROM unnest(new_nodes, new_leaves, new_salts, new_bodies)
            WITH ORDINALITY AS added (node, leaf, salt, body, n);
    INSERT INTO governance_log_marker
        SELECT digest, size + n - 1 FROM unnest(new_markers) WITH ORDINALITY AS added (digest, n);
    RETURN true;
END
$$;
