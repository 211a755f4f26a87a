-- SPDX-License-Identifier: Apache-2.0
-- Manifests as rows, decoded from their bytes: nothing is stored twice.

CREATE FUNCTION graviton.manifest_pages(p_alg core.hash_alg, p_hash_bytes bytea,
                                        p_byte_length bigint)
    RETURNS SETOF graviton.blob_manifest_page
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT p.* FROM graviton.blob b JOIN graviton.blob_manifest_page p USING (manifest_id)
        WHERE b.alg = p_alg AND b.hash_bytes = p_hash_bytes AND b.byte_length = p_byte_length
        ORDER BY p.level DESC, p.page_number;
    END;

-- STRICT, so that it is not merged into the query: its bytes are fetched once, not for each entry.
CREATE FUNCTION graviton.manifest_blocks(bytes bytea, at integer, entries integer, base bigint,
                                         first bigint)
    RETURNS TABLE (ordinal bigint, block_offset bigint, hash_bytes bytea, byte_length bigint)
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    BEGIN ATOMIC
        SELECT base + i, first + begins, digest, ends - begins
        FROM (SELECT i, core.wire_u64(bytes, at + 40 * i) AS ends,
                  CASE WHEN i = 0 THEN 0 ELSE core.wire_u64(bytes, at + 40 * i - 40) END AS begins,
                  substring(bytes FROM at + 40 * i + 9 FOR 32) AS digest
              FROM generate_series(0, entries - 1) i) entry;
    END;

-- In no order: whoever wants one sorts by `ordinal`.
CREATE FUNCTION graviton.blob_blocks(p_alg core.hash_alg, p_hash_bytes bytea, p_byte_length bigint)
    RETURNS TABLE (ordinal bigint, block_offset bigint, alg core.hash_alg, hash_bytes bytea,
                   byte_length bigint)
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT e.ordinal, e.block_offset, core.key_alg(t.hash), e.hash_bytes, e.byte_length
        FROM (SELECT substring(b.root FROM 8 FOR 1) AS hash, b.root || ''::bytea AS bytes,
                  112 + get_byte(substring(b.root FROM 107 FOR 1), 0) AS at,
                  b.block_count::integer AS entries, 0::bigint AS base, 0::bigint AS first
              FROM graviton.blob b
              WHERE b.alg = p_alg AND b.hash_bytes = p_hash_bytes AND b.byte_length = p_byte_length
                  AND b.depth = 0
              UNION ALL
              SELECT substring(b.root FROM 8 FOR 1), substring(p.bytes FROM 65), 0, p.entry_count,
                  p.first_entry, p.first_byte
              FROM graviton.blob b JOIN graviton.blob_manifest_page p
                  ON p.manifest_id = b.manifest_id AND p.level = 0
              WHERE b.alg = p_alg AND b.hash_bytes = p_hash_bytes
                  AND b.byte_length = p_byte_length) t,
            graviton.manifest_blocks(t.bytes, t.at, t.entries, t.base, t.first) e;
    END;

-- A blob's blocks with the best place of each; no locator where none is known.
CREATE FUNCTION graviton.resolve_blob_read_plan(p_alg core.hash_alg, p_hash_bytes bytea,
                                                p_byte_length bigint)
    RETURNS TABLE (ordinal bigint, block_offset bigint, alg core.hash_alg, hash_bytes bytea,
                   byte_length bigint, locator bytea, locator_text text, sector text,
                   status core.present_status)
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT b.ordinal, b.block_offset, b.alg, b.hash_bytes, b.byte_length, l.locator,
            l.locator_text, l.sector, l.status
        FROM graviton.blob_blocks(p_alg, p_hash_bytes, p_byte_length) b
        LEFT JOIN LATERAL (
            SELECT * FROM graviton.best_block_locations(b.alg, b.hash_bytes, b.byte_length)
            LIMIT 1) l ON true
        ORDER BY b.ordinal;
    END;
