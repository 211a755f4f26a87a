-- SPDX-License-Identifier: Apache-2.0
-- A root becomes visible only over pages that cover its blob, and these stay as long as it does.
--
-- Who makes a root visible and who deletes pages exclude one another by advisory locks: class
-- 0x67726d70 ("grmp"), object: the first byte of the manifest's id; roots take it shared, deleters
-- exclusive, and both look only then. What they look at has to be newer than the lock, so both
-- refuse transactions whose snapshot is older.

-- Entries of a table of pages, at any depth: the page's number and where it begins.
CREATE FUNCTION graviton.manifest_children(bytes bytea, at integer, entries integer, base bigint)
    RETURNS TABLE (page_number bigint, first_byte bigint)
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    BEGIN ATOMIC
        SELECT base + i, core.wire_u64(bytes, at + 40 * i) FROM generate_series(0, entries - 1) i;
    END;

-- The pages of one level: numbered from 0 without a gap, each beginning where the ones before it
-- end, in bytes and in entries, together `size` bytes and `entries` entries; of algorithm `hash`.
CREATE FUNCTION graviton.manifest_level_fault(id uuid, of_level integer, hash bytea, size bigint,
                                              entries bigint)
    RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    fault text;
    bytes_covered numeric;
    entries_covered numeric;
BEGIN
    SELECT format('page %s of level %s: expected number %s, first byte %s, first entry %s and '
                  'algorithm %s; it has %s, %s and %s', page_number, of_level, number_before,
                  bytes_before, entries_before, hash, first_byte, first_entry, page_hash)
        INTO fault
        FROM (SELECT page_number, first_byte, first_entry,
                  substring(bytes FROM 8 FOR 1) AS page_hash,
                  row_number() OVER pages - 1 AS number_before,
                  sum(byte_length) OVER pages - byte_length AS bytes_before,
                  sum(entry_count) OVER pages - entry_count AS entries_before
              FROM graviton.blob_manifest_page
              WHERE manifest_id = id AND level = of_level
              WINDOW pages AS (ORDER BY page_number ROWS UNBOUNDED PRECEDING)) page
        WHERE (page_number, first_byte, first_entry, page_hash)
            IS DISTINCT FROM (number_before, bytes_before, entries_before, hash)
        ORDER BY page_number LIMIT 1;
    IF fault IS NOT NULL THEN
        RETURN fault;
    END IF;
    SELECT coalesce(sum(byte_length), 0), coalesce(sum(entry_count), 0)
        INTO bytes_covered, entries_covered
        FROM graviton.blob_manifest_page WHERE manifest_id = id AND level = of_level;
    IF (bytes_covered, entries_covered) IS DISTINCT FROM (size::numeric, entries::numeric) THEN
        RETURN format('the pages of level %s cover %s bytes and %s entries, not %s and %s',
                      of_level, bytes_covered, entries_covered, size, entries);
    END IF;
    RETURN NULL;
END
$$;

-- What is wrong with the pages of a root that is sound by itself. Also what an audit asks.
CREATE FUNCTION graviton.manifest_coverage_fault(id uuid, depth integer, block_count bigint,
                                                 byte_length bigint, root bytea)
    RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    hash bytea := substring(root FROM 8 FOR 1);
    children integer := core.wire_u32(root, 76);
    pages bigint;
    fault text;
BEGIN
    IF EXISTS (SELECT FROM graviton.blob_manifest_page
               WHERE manifest_id = id AND level >= manifest_coverage_fault.depth) THEN
        RETURN format('pages of a level that a root of depth %s does not have', depth);
    ELSIF depth = 0 THEN
        RETURN NULL;
    END IF;
    SELECT count(*) INTO pages FROM graviton.blob_manifest_page
        WHERE manifest_id = id AND level = 0;
    fault := graviton.manifest_level_fault(id, 0, hash, byte_length, block_count);
    IF fault IS NULL AND depth = 2 THEN
        fault := graviton.manifest_level_fault(id, 1, hash, byte_length, pages);
    END IF;
    IF fault IS NOT NULL THEN
        RETURN fault;
    END IF;
    -- Now the tables above: what they say is where the pages are.
    SELECT format('page %s of level %s: the table above it does not have it at byte %s',
                  coalesce(page.page_number, entry.page_number), coalesce(page.level, entry.level),
                  page.first_byte)
        INTO fault
        FROM (SELECT depth - 1 AS level, e.page_number, e.first_byte
              FROM graviton.manifest_children(root, 112 + get_byte(root, 106), children, 0) e
              UNION ALL
              SELECT 0, e.page_number, e.first_byte
              FROM graviton.blob_manifest_page i,
                  graviton.manifest_children(substring(i.bytes FROM 65), 0, i.entry_count,
                                             i.first_entry) e
              WHERE i.manifest_id = id AND i.level = 1) entry
        FULL JOIN (SELECT p.level, p.page_number, p.first_byte FROM graviton.blob_manifest_page p
                   WHERE p.manifest_id = id) page
            ON page.level = entry.level AND page.page_number = entry.page_number
        WHERE page.first_byte IS DISTINCT FROM entry.first_byte
        ORDER BY 1 LIMIT 1;
    RETURN fault;
END
$$;

CREATE FUNCTION graviton.require_read_committed() RETURNS void
    LANGUAGE plpgsql PARALLEL RESTRICTED AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'roots and pages of manifests change only in transactions that are READ '
            'COMMITTED' USING ERRCODE = 'feature_not_supported';
    END IF;
END
$$;

-- All that a new root must be: first its own bytes, then that its pages are there. Rows never
-- change, so nothing has to be looked at twice. Both triggers are for what replication applies, too
-- (ENABLE ALWAYS); but pages are not asked for then: it may bring a root before them.
--
-- PL/pgSQL makes each expression ready anew in each transaction, which costs more than running it,
-- by the number of its operators; and each statement costs more than a few operators. So the usual
-- root, of few blocks that have less than 16 MiB together, without pages, is accepted by few
-- expressions that compare bytes with bytes. They accept nothing that manifest_root_fault would
-- not (tests/schema/roots.py); all that they do not accept is left to that function.
CREATE FUNCTION graviton.blob_check() RETURNS trigger
    LANGUAGE plpgsql AS $$
DECLARE
    root bytea := NEW.root;
    -- Sequence and time, as bits in the order of numbers.
    swapped bit(128);
    ends integer := 0;
BEGIN
    IF NEW.depth = 0 AND NEW.block_count BETWEEN 0 AND 255
        AND octet_length(root) = 120 + 40 * NEW.block_count
        AND NEW.byte_length < 16777216 AND NEW.sequence > 0 AND NEW.created_at > 'epoch'
        -- Magic, version, depth, algorithm, features, identity, key, reserved bytes, entries and
        -- blocks.
        AND substring(root FOR 88) = overlay(CASE NEW.alg
                WHEN 'blake3' THEN
                    '\x4752564d0100000100000000000000000000000000000000000000000000000001'::bytea
                ELSE '\x4752564d0100000200000000000000000000000000000000000000000000000002' END
                PLACING uuid_send(NEW.manifest_id) FROM 17)
            || NEW.hash_bytes || int8send(NEW.byte_length)
            || set_byte(set_byte('\x000000000000000000000000000000', 3, NEW.block_count::integer),
                7, NEW.block_count::integer)
        -- The content-defined chunker, of 16 KiB to 2 MiB.
        AND substring(root FROM 105 FOR 8) IN ('\x0101000000000100', '\x0101000000400000',
            '\x0101000000800000', '\x0101000000000200', '\x0101000000000400',
            '\x0101000000000800', '\x0101000000001000', '\x0101000000002000')
    THEN
        swapped := ('x' || reverse(encode(substring(root FROM 89 FOR 16), 'hex')))::bit(128);
        swapped := ((swapped & x'0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f') << 4)
            | ((swapped >> 4) & x'0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f');
        IF substring(swapped FOR 64)::bigint = NEW.sequence
            AND to_timestamp((substring(swapped FROM 65)::bigint / 1000)::double precision
                / 1000000) = NEW.created_at
        THEN
            -- NULL, and so it stays, behind an entry that does not end later than the one before.
            FOR at IN 112 .. octet_length(root) - 48 BY 40 LOOP
                ends := CASE WHEN substring(root FROM at + 4 FOR 5) = '\x0000000000' THEN
                    ends + nullif(greatest((get_byte(root, at) | (get_byte(root, at + 1) << 8)
                        | (get_byte(root, at + 2) << 16)) - ends, 0), 0) END;
            END LOOP;
            IF ends = NEW.byte_length THEN
                RETURN NEW;
            END IF;
        END IF;
    END IF;

    root := root || ''::bytea;
    IF NEW.created_at IS NULL AND octet_length(root) >= 96 THEN
        NEW.created_at := graviton.manifest_root_created_at(root);
    END IF;
    IF num_nulls(NEW.alg, NEW.hash_bytes, NEW.byte_length, NEW.manifest_id, NEW.sequence,
                 NEW.depth, NEW.block_count, NEW.created_at, root) > 0 THEN
        RETURN NEW; -- which the columns refuse
    END IF;
    PERFORM core.is_sound('manifest root', graviton.manifest_root_fault(
        NEW.alg, NEW.hash_bytes, NEW.byte_length, NEW.manifest_id, NEW.sequence, NEW.depth,
        NEW.block_count, NEW.created_at, root));
    IF NEW.depth > 0 AND current_setting('session_replication_role') <> 'replica' THEN
        PERFORM graviton.require_read_committed();
        PERFORM pg_advisory_xact_lock_shared(x'67726d70'::integer,
                                             get_byte(uuid_send(NEW.manifest_id), 0));
        PERFORM core.is_sound('manifest', graviton.manifest_coverage_fault(
            NEW.manifest_id, NEW.depth, NEW.block_count, NEW.byte_length, root));
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER blob_check BEFORE INSERT ON graviton.blob
    FOR EACH ROW EXECUTE FUNCTION graviton.blob_check();
ALTER TABLE graviton.blob ENABLE ALWAYS TRIGGER blob_check;

CREATE FUNCTION graviton.refuse_change() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%.%: a row never changes once it is there', TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'check_violation';
END
$$;
CREATE TRIGGER blob_refuse_change BEFORE UPDATE ON graviton.blob
    FOR EACH ROW EXECUTE FUNCTION graviton.refuse_change();
ALTER TABLE graviton.blob ENABLE ALWAYS TRIGGER blob_refuse_change;
CREATE TRIGGER blob_manifest_page_refuse_change BEFORE UPDATE ON graviton.blob_manifest_page
    FOR EACH ROW EXECUTE FUNCTION graviton.refuse_change();

CREATE FUNCTION graviton.blob_manifest_page_refuse_late() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM graviton.blob WHERE manifest_id = NEW.manifest_id) THEN
        RAISE EXCEPTION 'manifest page: manifest % is complete already', NEW.manifest_id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER blob_manifest_page_refuse_late BEFORE INSERT ON graviton.blob_manifest_page
    FOR EACH ROW EXECUTE FUNCTION graviton.blob_manifest_page_refuse_late();

-- After the statement: one that deletes blob and pages together is as good as two.
CREATE FUNCTION graviton.blob_manifest_page_keep_visible() RETURNS trigger
    LANGUAGE plpgsql AS $$
DECLARE
    stripe integer;
    id uuid;
BEGIN
    PERFORM graviton.require_read_committed();
    FOR stripe IN SELECT DISTINCT get_byte(uuid_send(manifest_id), 0) FROM gone ORDER BY 1 LOOP
        PERFORM pg_advisory_xact_lock(x'67726d70'::integer, stripe);
    END LOOP;
    SELECT blob.manifest_id INTO id FROM graviton.blob
        WHERE blob.manifest_id IN (SELECT gone.manifest_id FROM gone) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'manifest page: a blob needs manifest %', id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER blob_manifest_page_keep_visible AFTER DELETE ON graviton.blob_manifest_page
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION graviton.blob_manifest_page_keep_visible();

CREATE FUNCTION graviton.blob_manifest_page_keep_all() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM graviton.blob WHERE depth > 0) THEN
        RAISE EXCEPTION 'manifest page: blobs need them' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER blob_manifest_page_keep_all AFTER TRUNCATE ON graviton.blob_manifest_page
    FOR EACH STATEMENT EXECUTE FUNCTION graviton.blob_manifest_page_keep_all();
