-- SPDX-License-Identifier: Apache-2.0
-- The key-value store: one table, in the order of namespaces and keys.

CREATE TABLE graviton.kv (
    ns smallint NOT NULL,
    key bytea NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (ns, key),
    CONSTRAINT kv_ns_bounds CHECK (ns BETWEEN 0 AND 31),
    CONSTRAINT kv_key_length CHECK (octet_length(key) BETWEEN 1 AND 1024),
    CONSTRAINT kv_value_length CHECK (octet_length(value) <= 33554432)
);
ALTER TABLE graviton.kv ALTER COLUMN value SET STORAGE EXTERNAL;

-- Locks of batches. 0 is the gate: every batch takes it shared, one that deletes ranges exclusive.
-- 1 and up are stripes, by a hash of namespace and key: a batch takes those of its guards'
-- exclusive and those of what it writes shared. All before it looks at or writes any row.
--
-- Takes advisory locks of class 0x67726b76 ("grkv") until the transaction's end, in the order
-- given. Callers give them in ascending order: then no two of them wait for each other.
CREATE FUNCTION graviton.kv_lock(stripes integer[], exclusive boolean[]) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. cardinality(stripes) LOOP
        IF exclusive[i] THEN
            PERFORM pg_advisory_xact_lock(x'67726b76'::integer, stripes[i]);
        ELSE
            PERFORM pg_advisory_xact_lock_shared(x'67726b76'::integer, stripes[i]);
        END IF;
    END LOOP;
END
$$;

-- Guards of a batch: kind 1 absent, 2 equals the value, 3 present. SQLSTATE GV001 names the first
-- that does not hold. The caller holds the keys' locks since before this statement began.
CREATE FUNCTION graviton.kv_guard(namespaces smallint[], keys bytea[], kinds smallint[],
                                  wanted bytea[])
    RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    broken bigint;
BEGIN
    SELECT guard.number INTO broken
        FROM unnest(namespaces, keys, kinds, wanted) WITH ORDINALITY
            AS guard (ns, key, kind, value, number)
        LEFT JOIN graviton.kv ON kv.ns = guard.ns AND kv.key = guard.key
        WHERE CASE guard.kind
            WHEN 1 THEN kv.key IS NULL
            WHEN 2 THEN kv.value = guard.value
            WHEN 3 THEN kv.key IS NOT NULL
            ELSE false
        END IS NOT TRUE
        ORDER BY guard.number LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'guard % does not hold', broken USING ERRCODE = 'GV001';
    END IF;
END
$$;

-- Writes in the order given, NULL deletes. Callers give keys in ascending order: then no two batches
-- wait for each other's rows, which a DELETE of many and an INSERT of others would not see to.
CREATE FUNCTION graviton.kv_apply(namespaces smallint[], keys bytea[], new_values bytea[])
    RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    change record;
BEGIN
    FOR change IN SELECT c.ns, c.key, c.value
        FROM unnest(namespaces, keys, new_values) AS c (ns, key, value)
    LOOP
        IF change.value IS NULL THEN
            DELETE FROM graviton.kv WHERE kv.ns = change.ns AND kv.key = change.key;
        ELSE
            INSERT INTO graviton.kv (ns, key, value)
                VALUES (change.ns, change.key, change.value)
                ON CONFLICT ON CONSTRAINT kv_pkey DO UPDATE SET value = excluded.value;
        END IF;
    END LOOP;
END
$$;
