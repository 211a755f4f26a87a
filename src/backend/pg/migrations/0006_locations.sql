-- SPDX-License-Identifier: Apache-2.0
-- Where blobs, blocks and packs lie (the replica index), and in which failure domains.

CREATE TABLE graviton.sector (
    sector_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    locator_prefix bytea NOT NULL UNIQUE,
    rank integer NOT NULL DEFAULT 100,
    lifecycle core.lifecycle_status NOT NULL DEFAULT 'active',
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT sector_name_form CHECK (name ~ '\S'),
    CONSTRAINT sector_prefix_form CHECK (octet_length(locator_prefix) <= 960
        AND encode(locator_prefix, 'escape') ~ '^[a-z][a-z0-9+.-]{0,15}://')
);
COMMENT ON COLUMN graviton.sector.rank IS 'lower is read first';

-- Keys are in byte form (docs/format.md, Replicas, without the kind in front).
CREATE TABLE graviton.location (
    kind smallint NOT NULL,
    key bytea NOT NULL,
    locator core.locator NOT NULL,
    status core.present_status NOT NULL DEFAULT 'present',
    added_at timestamptz NOT NULL DEFAULT now(),
    verified_at timestamptz,
    PRIMARY KEY (kind, key, locator),
    CONSTRAINT location_key_form CHECK (CASE kind
        WHEN 1 THEN octet_length(key) = 41 AND substring(key FOR 1) IN ('\x01', '\x02')
            AND substring(key FROM 34) <= '\x7fffffffffffffff'
        WHEN 2 THEN octet_length(key) = 41 AND substring(key FOR 1) IN ('\x01', '\x02')
            AND substring(key FROM 34) BETWEEN '\x0000000000000001' AND '\x0000000001000000'
        WHEN 3 THEN octet_length(key) = 24
        ELSE false
    END)
) PARTITION BY LIST (kind);
CREATE TABLE graviton.location_blob PARTITION OF graviton.location FOR VALUES IN (1);
CREATE TABLE graviton.location_block PARTITION OF graviton.location FOR VALUES IN (2);
CREATE TABLE graviton.location_pack PARTITION OF graviton.location FOR VALUES IN (3);
CREATE INDEX location_by_locator ON graviton.location (locator, kind, key);

-- Changes of one key's locations take effect one after another, so that their number stays bounded:
-- an advisory lock of class 0x67726c63 ("grlc") by a hash of the key, until the transaction's end.
CREATE FUNCTION graviton.location_lock(p_kind smallint, p_key bytea) RETURNS void
    LANGUAGE sql VOLATILE
    BEGIN ATOMIC
        SELECT pg_advisory_xact_lock(x'67726c63'::integer,
                                     hashtext(p_kind || encode(p_key, 'hex')));
    END;

-- Adds one location of a key; harmless where it is there. False where there are too many others.
CREATE FUNCTION graviton.location_add(p_kind smallint, p_key bytea, p_locator bytea,
                                      p_most integer) RETURNS boolean
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM graviton.location_lock(p_kind, p_key);
    IF (SELECT count(*) FROM graviton.location
        WHERE kind = p_kind AND key = p_key AND locator <> p_locator) >= p_most THEN
        RETURN false;
    END IF;
    INSERT INTO graviton.location (kind, key, locator) VALUES (p_kind, p_key, p_locator)
        ON CONFLICT (kind, key, locator) DO NOTHING;
    RETURN true;
END
$$;

-- Makes these the locations of a key; what is known of those that stay is kept.
CREATE FUNCTION graviton.location_set(p_kind smallint, p_key bytea, p_locators bytea[])
    RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM graviton.location_lock(p_kind, p_key);
    DELETE FROM graviton.location
        WHERE kind = p_kind AND key = p_key AND locator <> ALL (p_locators);
    INSERT INTO graviton.location (kind, key, locator)
        SELECT p_kind, p_key, unnest(p_locators)
        ON CONFLICT (kind, key, locator) DO NOTHING;
END
$$;

-- Takes one location from a key; harmless where it is not there.
CREATE FUNCTION graviton.location_remove(p_kind smallint, p_key bytea, p_locator bytea)
    RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM graviton.location_lock(p_kind, p_key);
    DELETE FROM graviton.location
        WHERE kind = p_kind AND key = p_key AND locator = p_locator;
END
$$;

-- The sector whose prefix is the longest that fits.
CREATE FUNCTION graviton.locator_sector(locator bytea) RETURNS integer
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT sector_id FROM graviton.sector
        WHERE substring(locator FOR octet_length(locator_prefix)) = locator_prefix
        ORDER BY octet_length(locator_prefix) DESC LIMIT 1;
    END;

CREATE VIEW graviton.blob_location AS
    SELECT core.key_alg(key) AS alg, substring(key FROM 2 FOR 32) AS hash_bytes,
        core.key_size(key) AS byte_length, locator, graviton.locator_text(locator) AS locator_text,
        graviton.locator_sector(locator) AS sector_id, status, added_at, verified_at
    FROM graviton.location WHERE kind = 1;
CREATE VIEW graviton.block_location AS
    SELECT core.key_alg(key) AS alg, substring(key FROM 2 FOR 32) AS hash_bytes,
        core.key_size(key) AS byte_length, locator, graviton.locator_text(locator) AS locator_text,
        graviton.locator_sector(locator) AS sector_id, status, added_at, verified_at
    FROM graviton.location WHERE kind = 2;
CREATE VIEW graviton.pack_location AS
    SELECT encode(substring(key FOR 16), 'hex')::uuid AS session_id, core.key_size(key) AS number,
        locator, graviton.locator_text(locator) AS locator_text,
        graviton.locator_sector(locator) AS sector_id, status, added_at, verified_at
    FROM graviton.location WHERE kind = 3;

-- A block that lies somewhere; its status is that of its best location.
CREATE VIEW graviton.block AS
    SELECT core.key_alg(key) AS alg, substring(key FROM 2 FOR 32) AS hash_bytes,
        core.key_size(key) AS byte_length, min(added_at) AS first_seen,
        max(verified_at) AS last_verified, min(status) AS status, count(*) AS locations
    FROM graviton.location WHERE kind = 2 GROUP BY key;

CREATE TYPE graviton.verify_result AS ENUM ('ok', 'missing', 'hash_mismatch', 'unreadable');

-- What checks of blocks at their locations found. An event is what changes a location's status.
CREATE TABLE graviton.block_verify_event (
    event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alg core.hash_alg NOT NULL,
    hash_bytes core.hash_bytes NOT NULL,
    byte_length core.byte_size NOT NULL,
    locator core.locator NOT NULL,
    result graviton.verify_result NOT NULL,
    detail text,
    checked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT block_verify_event_length CHECK (byte_length BETWEEN 1 AND 16777216)
);
CREATE INDEX block_verify_event_block
    ON graviton.block_verify_event (alg, hash_bytes, byte_length, checked_at DESC);

-- One that could not be read is as it was: nothing is known about it.
CREATE FUNCTION graviton.block_verify_event_apply() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    UPDATE graviton.location
        SET status = CASE NEW.result WHEN 'ok' THEN 'present' WHEN 'missing' THEN 'missing'
                ELSE 'corrupt' END::core.present_status,
            verified_at = NEW.checked_at
        WHERE kind = 2 AND key = core.key_bytes(NEW.alg, NEW.hash_bytes, NEW.byte_length)
            AND locator = NEW.locator
            AND (verified_at IS NULL OR verified_at <= NEW.checked_at);
    RETURN NULL;
END
$$;
CREATE TRIGGER block_verify_event_apply AFTER INSERT ON graviton.block_verify_event
    FOR EACH ROW WHEN (NEW.result <> 'unreadable')
    EXECUTE FUNCTION graviton.block_verify_event_apply();

-- Where to read a block, best first: what was found missing or corrupt and what lies in a dead
-- sector is left out; sectors that are draining or deprecated come after the active ones.
CREATE FUNCTION graviton.best_block_locations(p_alg core.hash_alg, p_hash_bytes bytea,
                                              p_byte_length bigint)
    RETURNS TABLE (locator bytea, locator_text text, sector_id integer, sector text, rank integer,
                   lifecycle core.lifecycle_status, status core.present_status,
                   verified_at timestamptz)
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT l.locator, graviton.locator_text(l.locator), s.sector_id, s.name, s.rank,
            s.lifecycle, l.status, l.verified_at
        FROM graviton.location l
        LEFT JOIN graviton.sector s ON s.sector_id = graviton.locator_sector(l.locator)
        WHERE l.kind = 2 AND l.key = core.key_bytes(p_alg, p_hash_bytes, p_byte_length)
            AND l.status IN ('present', 'relocating')
            AND s.lifecycle IS DISTINCT FROM 'dead'
        ORDER BY l.status, s.lifecycle NULLS FIRST, s.rank NULLS LAST,
            l.verified_at DESC NULLS LAST, l.locator;
    END;
