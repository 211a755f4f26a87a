-- SPDX-License-Identifier: Apache-2.0
-- What all tables share: schema core, types, and how stored bytes are read in SQL.
--
-- Stored integers are little-endian, those in keys big-endian (docs/format.md). Functions that read
-- them are given bytes that are there; their callers check lengths first. Callers also see to it
-- that `bytes` is not out of line: get_byte would fetch all of it for every single byte.

DO $$
BEGIN
    IF to_regtype('core.hash_alg') IS NOT NULL OR to_regclass('graviton.blob') IS NOT NULL THEN
        RAISE EXCEPTION 'this database holds the tables of another program in schemas "core" and '
            '"graviton": give graviton a database of its own'
            USING ERRCODE = 'duplicate_object';
    END IF;
    IF to_regnamespace('core') IS NULL THEN
        CREATE SCHEMA core;
    END IF;
    IF to_regnamespace('graviton') IS NULL THEN
        CREATE SCHEMA graviton;
    END IF;
END
$$;

-- In the order of their numbers, so that keys sort in SQL as they do in bytes.
CREATE TYPE core.hash_alg AS ENUM ('blake3', 'sha256');
CREATE TYPE core.lifecycle_status AS ENUM ('active', 'draining', 'deprecated', 'dead');
-- Best first: the least of several statuses is the best of them.
CREATE TYPE core.present_status AS ENUM ('present', 'relocating', 'missing', 'corrupt');

CREATE DOMAIN core.byte_size AS bigint
    CONSTRAINT byte_size_not_negative CHECK (VALUE >= 0);
CREATE DOMAIN core.hash_bytes AS bytea
    CONSTRAINT hash_bytes_32 CHECK (octet_length(VALUE) = 32);

-- scheme://bucket/path as bytes: paths may be any, so text would not do. The longest scheme,
-- bucket and locator are those of the ports.
CREATE DOMAIN core.locator AS bytea
    CONSTRAINT locator_length CHECK (octet_length(VALUE) <= 960)
    CONSTRAINT locator_without_nul CHECK (position('\x00'::bytea IN VALUE) = 0)
    CONSTRAINT locator_form CHECK (
        encode(VALUE, 'escape') ~ '^[a-z][a-z0-9+.-]{0,15}://[^/\x01-\x1f\x7f]+/.')
    CONSTRAINT locator_bucket_length CHECK (
        position('/'::bytea IN substring(VALUE FROM position('://'::bytea IN VALUE) + 3)) <= 256);

CREATE FUNCTION core.wire_u32(bytes bytea, at integer) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN get_byte(bytes, at) | (get_byte(bytes, at + 1) << 8) | (get_byte(bytes, at + 2) << 16)
        | (get_byte(bytes, at + 3)::bigint << 24);

-- 2^63 and more come out negative.
CREATE FUNCTION core.wire_u64(bytes bytea, at integer) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN get_byte(bytes, at) | (get_byte(bytes, at + 1) << 8) | (get_byte(bytes, at + 2) << 16)
        | (get_byte(bytes, at + 3)::bigint << 24) | (get_byte(bytes, at + 4)::bigint << 32)
        | (get_byte(bytes, at + 5)::bigint << 40) | (get_byte(bytes, at + 6)::bigint << 48)
        | (get_byte(bytes, at + 7)::bigint << 56);

-- The byte form of a key: algorithm (1), digest (32), size big-endian (8); and back.
CREATE FUNCTION core.key_bytes(alg core.hash_alg, hash_bytes bytea, byte_length bigint)
    RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE alg WHEN 'blake3' THEN '\x01'::bytea ELSE '\x02'::bytea END || hash_bytes
        || int8send(byte_length);

CREATE FUNCTION core.key_alg(key bytea) RETURNS core.hash_alg
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE get_byte(key, 0) WHEN 1 THEN 'blake3'::core.hash_alg
        WHEN 2 THEN 'sha256'::core.hash_alg END;

CREATE FUNCTION core.key_size(key bytea) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ('x' || encode(substring(key FROM octet_length(key) - 7), 'hex'))::bit(64)::bigint;

-- A key as people write it, and as every tool prints it.
CREATE FUNCTION core.key_text(alg core.hash_alg, hash_bytes bytea, byte_length bigint) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE alg WHEN 'blake3' THEN 'blake3' ELSE 'sha256' END || ':'
        || encode(hash_bytes, 'hex') || ':' || byte_length;

-- A constraint over what a function named ..._fault found: NULL is sound, and passes; anything else
-- is refused, and is the message.
CREATE FUNCTION core.is_sound(what text, fault text) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION '%: %', what, fault USING ERRCODE = 'check_violation';
    END IF;
    RETURN true;
END
$$;

-- Bytes that are mostly text, for people: other bytes are \ooo.
CREATE FUNCTION graviton.locator_text(locator bytea) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN encode(locator, 'escape');

-- The store's descriptor (docs/format.md): one row, or none in a database that is no store yet.
CREATE TABLE graviton.blob_store (
    singleton boolean PRIMARY KEY DEFAULT true,
    descriptor bytea NOT NULL,
    store_id uuid GENERATED ALWAYS AS (
        substring(encode(descriptor, 'escape') FROM '"store_id": *"([0-9a-f]{32})"')::uuid) STORED,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT blob_store_one_row CHECK (singleton),
    CONSTRAINT blob_store_descriptor_length CHECK (octet_length(descriptor) BETWEEN 1 AND 65536)
);

-- Notes that jobs keep about the store, as where a scrub goes on.
CREATE TABLE graviton.state (
    name text COLLATE "C" PRIMARY KEY,
    value bytea NOT NULL,
    CONSTRAINT state_name_form CHECK (name ~ '^[a-z0-9-]{1,64}$'),
    CONSTRAINT state_value_length CHECK (octet_length(value) BETWEEN 1 AND 4096)
);
