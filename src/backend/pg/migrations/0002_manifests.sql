-- SPDX-License-Identifier: Apache-2.0
-- Manifests: the bytes of docs/format.md, and beside them columns that say the same.
--
-- Functions named ..._fault return NULL for what is sound, and else what is wrong. The constraints
-- are made of them, and so is any later audit. They loop in PL/pgSQL rather than query: a loop
-- needs no plan for each row that is inserted, and no executor for each table of entries. What SQL
-- cannot check is left to the reader: the root's XXH3 checksum, the pages' BLAKE3 digests.

-- Entries of blocks: each ends 1 byte to 16 MiB after the one before it, the last at `size`.
-- Offsets here stay below 2^40, so three of their eight bytes are zero.
CREATE FUNCTION graviton.manifest_blocks_fault(bytes bytea, at integer, entries integer,
                                               size bigint)
    RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    before bigint := 0;
    ends bigint;
BEGIN
    FOR i IN 0 .. entries - 1 LOOP
        ends := get_byte(bytes, at) | (get_byte(bytes, at + 1) << 8)
            | (get_byte(bytes, at + 2) << 16) | (get_byte(bytes, at + 3)::bigint << 24)
            | (get_byte(bytes, at + 4)::bigint << 32);
        IF ends - before NOT BETWEEN 1 AND 16777216
            OR get_byte(bytes, at + 5) | get_byte(bytes, at + 6) | get_byte(bytes, at + 7) <> 0 THEN
            RETURN format('entry %s: a block has 1 to 16777216 bytes, not %s', i,
                          core.wire_u64(bytes, at) - before);
        END IF;
        before := ends;
        at := at + 40;
    END LOOP;
    IF before <> size THEN
        RETURN format('the blocks end at byte %s, not %s', before, size);
    END IF;
    RETURN NULL;
END
$$;

-- Entries of pages: the first begins at `first`, each next one later, the last before
-- `first` + `size`.
CREATE FUNCTION graviton.manifest_children_fault(bytes bytea, at integer, entries integer,
                                                 first bigint, size bigint)
    RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    before bigint := first - 1;
    begins bigint;
BEGIN
    FOR i IN 0 .. entries - 1 LOOP
        begins := core.wire_u64(bytes, at + 40 * i);
        IF begins <= before OR (i = 0 AND begins <> first) OR begins - first >= size THEN
            RETURN format('entry %s: a page cannot begin at byte %s', i, begins);
        END IF;
        before := begins;
    END LOOP;
    RETURN NULL;
END
$$;

CREATE FUNCTION graviton.manifest_page_fault(manifest_id uuid, level integer, page_number bigint,
                                             first_byte bigint, byte_length bigint,
                                             first_entry bigint, entry_count integer, bytes bytea)
    RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF entry_count NOT BETWEEN 1 AND 1024 THEN
        RETURN format('a page has 1 to 1024 entries, not %s', entry_count);
    ELSIF octet_length(bytes) <> 64 + 40 * entry_count THEN
        RETURN format('%s bytes are no page of %s entries', octet_length(bytes), entry_count);
    ELSIF substring(bytes FOR 4) <> 'GRVP'::bytea THEN
        RETURN 'no magic number';
    ELSIF substring(bytes FROM 5 FOR 2) <> '\x0100'::bytea THEN
        RETURN 'not of version 1';
    ELSIF get_byte(bytes, 6) <> level OR level NOT IN (0, 1) THEN
        RETURN format('level %s in the bytes, %s in the row', get_byte(bytes, 6), level);
    ELSIF get_byte(bytes, 7) NOT IN (1, 2) THEN
        RETURN format('unknown algorithm %s', get_byte(bytes, 7));
    ELSIF core.wire_u32(bytes, 8) <> entry_count THEN
        RETURN format('%s entries in the bytes, %s in the row', core.wire_u32(bytes, 8),
                      entry_count);
    ELSIF core.wire_u32(bytes, 12) <> 0 THEN
        RETURN 'reserved bytes are not zero';
    ELSIF substring(bytes FROM 17 FOR 16) <> uuid_send(manifest_id) THEN
        RETURN 'another manifest''s id in the bytes than in the row';
    ELSIF core.wire_u64(bytes, 32) <> page_number OR page_number NOT BETWEEN 0 AND 4294967295 THEN
        RETURN format('number %s in the bytes, %s in the row', core.wire_u64(bytes, 32),
                      page_number);
    ELSIF core.wire_u64(bytes, 40) <> first_byte OR first_byte < 0 THEN
        RETURN format('first byte %s in the bytes, %s in the row', core.wire_u64(bytes, 40),
                      first_byte);
    ELSIF core.wire_u64(bytes, 48) <> byte_length OR byte_length < entry_count
        OR byte_length > 9223372036854775807 - first_byte THEN
        RETURN format('%s bytes covered in the bytes, %s in the row', core.wire_u64(bytes, 48),
                      byte_length);
    ELSIF core.wire_u64(bytes, 56) <> first_entry OR first_entry < page_number THEN
        RETURN format('first entry %s in the bytes, %s in the row', core.wire_u64(bytes, 56),
                      first_entry);
    ELSIF level = 0 THEN
        RETURN graviton.manifest_blocks_fault(bytes, 64, entry_count, byte_length);
    END IF;
    RETURN graviton.manifest_children_fault(bytes, 64, entry_count, first_byte, byte_length);
END
$$;

-- When a root says that its blob was stored, cut to microseconds.
CREATE FUNCTION graviton.manifest_root_created_at(root bytea) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN to_timestamp((core.wire_u64(root, 88) / 1000)::double precision / 1000000);

CREATE FUNCTION graviton.manifest_chunker_fault(root bytea) RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    kind integer := get_byte(root, 104);
    delimiter_size integer := get_byte(root, 106);
    size bigint := core.wire_u32(root, 108);
BEGIN
    IF kind NOT IN (1, 2, 3) OR get_byte(root, 105) <> 1 THEN
        RETURN format('unknown chunker %s of version %s', kind, get_byte(root, 105));
    ELSIF get_byte(root, 107) <> 0 OR delimiter_size > 64
        OR (kind = 3) <> (delimiter_size > 0) THEN
        RETURN 'the chunker''s delimiter is out of bounds';
    ELSIF (kind = 1 AND (size NOT BETWEEN 16384 AND 4194304 OR size & (size - 1) <> 0))
        OR (kind = 2 AND size NOT BETWEEN 1 AND 16777216)
        OR (kind = 3 AND size NOT BETWEEN delimiter_size AND 16777216) THEN
        RETURN format('the chunker''s size %s is out of bounds', size);
    END IF;
    RETURN NULL;
END
$$;

-- A root by itself; `root` has the length that its counts ask for.
CREATE FUNCTION graviton.manifest_table_fault(root bytea, depth integer, block_count bigint,
                                              byte_length bigint)
    RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    at integer := 112 + get_byte(root, 106);
    entries bigint := core.wire_u32(root, 76);
BEGIN
    IF octet_length(root) <> at + 40 * entries + 8 THEN
        RETURN format('%s bytes are no root of %s entries', octet_length(root), entries);
    ELSIF block_count NOT BETWEEN 0 AND 549755813887
        OR byte_length NOT BETWEEN block_count AND block_count * 16777216 THEN
        RETURN format('%s blocks cannot hold %s bytes', block_count, byte_length);
    ELSIF depth = 0 THEN
        IF entries > 256 OR entries <> block_count THEN
            RETURN format('%s entries for %s blocks', entries, block_count);
        END IF;
        RETURN graviton.manifest_blocks_fault(root, at, entries::integer, byte_length);
    ELSIF entries NOT BETWEEN 1 AND 16384
        OR block_count NOT BETWEEN entries AND entries * 1024 ^ depth THEN
        RETURN format('%s pages for %s blocks', entries, block_count);
    END IF;
    RETURN graviton.manifest_children_fault(root, at, entries::integer, 0, byte_length);
END
$$;

CREATE FUNCTION graviton.manifest_root_fault(alg core.hash_alg, hash_bytes bytea,
                                             byte_length bigint, manifest_id uuid, sequence bigint,
                                             depth integer, block_count bigint,
                                             created_at timestamptz, root bytea)
    RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    fault text;
BEGIN
    IF octet_length(root) < 120 THEN
        RETURN format('%s bytes are too few', octet_length(root));
    ELSIF substring(root FOR 4) <> 'GRVM'::bytea THEN
        RETURN 'no magic number';
    ELSIF substring(root FROM 5 FOR 2) <> '\x0100'::bytea THEN
        RETURN 'not of version 1';
    ELSIF get_byte(root, 6) <> depth OR depth NOT BETWEEN 0 AND 2 THEN
        RETURN format('depth %s in the bytes, %s in the row', get_byte(root, 6), depth);
    ELSIF get_byte(root, 7) NOT IN (1, 2) THEN
        RETURN format('unknown algorithm %s', get_byte(root, 7));
    ELSIF core.wire_u32(root, 8) <> 0 THEN
        RETURN 'unknown required features';
    ELSIF substring(root FROM 17 FOR 16) <> uuid_send(manifest_id) THEN
        RETURN 'another manifest''s id in the bytes than in the row';
    ELSIF substring(root FROM 33 FOR 41) <> core.key_bytes(alg, hash_bytes, byte_length) THEN
        RETURN 'another blob''s key in the bytes than in the row';
    ELSIF substring(root FROM 74 FOR 3) <> '\x000000'::bytea THEN
        RETURN 'reserved bytes are not zero';
    ELSIF core.wire_u64(root, 80) <> block_count THEN
        RETURN format('%s blocks in the bytes, %s in the row', core.wire_u64(root, 80),
                      block_count);
    ELSIF core.wire_u64(root, 88) < 0
        OR graviton.manifest_root_created_at(root) <> created_at THEN
        RETURN 'another time in the bytes than in the row';
    ELSIF core.wire_u64(root, 96) <> sequence OR sequence < 1 THEN
        RETURN format('sequence %s in the bytes, %s in the row', core.wire_u64(root, 96), sequence);
    END IF;
    fault := graviton.manifest_chunker_fault(root);
    IF fault IS NULL THEN
        fault := graviton.manifest_table_fault(root, depth, block_count, byte_length);
    END IF;
    RETURN fault;
END
$$;

-- Pages come before their root, under the manifest's random id; they never change.
CREATE TABLE graviton.blob_manifest_page (
    manifest_id uuid NOT NULL,
    level smallint NOT NULL,
    page_number bigint NOT NULL,
    first_byte bigint NOT NULL,
    byte_length bigint NOT NULL,
    first_entry bigint NOT NULL,
    entry_count integer NOT NULL,
    bytes bytea NOT NULL,
    PRIMARY KEY (manifest_id, level, page_number),
    CONSTRAINT blob_manifest_page_sound CHECK (core.is_sound('manifest page',
        graviton.manifest_page_fault(manifest_id, level, page_number, first_byte, byte_length,
                                     first_entry, entry_count, bytes)))
);
-- Digests do not compress, and parts of what is not compressed can be read by themselves.
ALTER TABLE graviton.blob_manifest_page ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- The store's commit numbers. A root holds its own in its bytes, so it is drawn before.
CREATE SEQUENCE graviton.blob_sequence;

-- What else a root must be is checked by trigger blob_check (0003): a CHECK would be parsed and
-- planned anew by every statement, and cost more than all the rest of an insert.
CREATE TABLE graviton.blob (
    alg core.hash_alg NOT NULL,
    hash_bytes core.hash_bytes NOT NULL,
    byte_length core.byte_size NOT NULL,
    manifest_id uuid NOT NULL,
    sequence bigint NOT NULL,
    depth smallint NOT NULL,
    block_count bigint NOT NULL,
    created_at timestamptz NOT NULL,
    root bytea NOT NULL,
    PRIMARY KEY (alg, hash_bytes, byte_length),
    CONSTRAINT blob_manifest_id_key UNIQUE (manifest_id),
    CONSTRAINT blob_sequence_key UNIQUE (sequence)
);
ALTER TABLE graviton.blob ALTER COLUMN root SET STORAGE EXTERNAL;
ALTER SEQUENCE graviton.blob_sequence OWNED BY graviton.blob.sequence;

CREATE TABLE graviton.blob_attributes (
    alg core.hash_alg NOT NULL,
    hash_bytes core.hash_bytes NOT NULL,
    byte_length core.byte_size NOT NULL,
    attributes bytea NOT NULL,
    PRIMARY KEY (alg, hash_bytes, byte_length),
    FOREIGN KEY (alg, hash_bytes, byte_length) REFERENCES graviton.blob ON DELETE CASCADE,
    CONSTRAINT blob_attributes_form CHECK (octet_length(attributes) BETWEEN 16 AND 65536
        AND substring(attributes FOR 4) = 'GRVA'::bytea)
);
