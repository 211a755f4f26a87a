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
