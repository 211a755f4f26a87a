-- SPDX-License-Identifier: Apache-2.0
-- Objects: a name, and the content it has at the moment. Content is written in chunks before any
-- object has it; once finished it is whole and never changes. Several objects may share one. One
-- that no object has any more is let go of: it loses its length, which nobody can do to one that
-- has a name, then its chunks, a few at a time, and itself.

CREATE TABLE graviton.object_content (
    content_id uuid PRIMARY KEY,
    chunk_size integer NOT NULL DEFAULT 262144,
    byte_length core.byte_size,
    unnamed_since timestamptz DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT object_content_size_key UNIQUE (content_id, byte_length),
    CONSTRAINT object_content_chunk_size CHECK (chunk_size BETWEEN 1 AND 1048576)
);
COMMENT ON COLUMN graviton.object_content.byte_length IS
    'NULL until all chunks are there, and again while they are being deleted';
COMMENT ON COLUMN graviton.object_content.unnamed_since IS
    'NULL where an object has it; else since when perhaps none has, or -infinity while it is being '
    'deleted. While it is being written: when something last came, give or take an hour';
-- What a sweep looks through: puts under way, and garbage.
CREATE INDEX object_content_unnamed ON graviton.object_content (unnamed_since)
    WHERE unnamed_since IS NOT NULL;

CREATE TABLE graviton.object_chunk (
    content_id uuid NOT NULL REFERENCES graviton.object_content ON DELETE CASCADE,
    number integer NOT NULL,
    checksum bigint NOT NULL,
    bytes bytea NOT NULL,
    PRIMARY KEY (content_id, number),
    CONSTRAINT object_chunk_number CHECK (number >= 0),
    CONSTRAINT object_chunk_length CHECK (octet_length(bytes) BETWEEN 1 AND 1048576)
);
ALTER TABLE graviton.object_chunk ALTER COLUMN bytes SET STORAGE EXTERNAL;
COMMENT ON COLUMN graviton.object_chunk.checksum IS
    'XXH3-64 of the bytes; its seed is XXH3-64 of content_id and number (docs/format.md)';

-- The key also says that the content is finished, and how long it is.
CREATE TABLE graviton.object (
    bucket bytea NOT NULL,
    path bytea NOT NULL,
    content_id uuid NOT NULL,
    size core.byte_size NOT NULL,
    tag text NOT NULL,
    modified timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (bucket, path),
    FOREIGN KEY (content_id, size) REFERENCES graviton.object_content (content_id, byte_length),
    CONSTRAINT object_bucket_form CHECK (octet_length(bucket) BETWEEN 1 AND 255
        AND encode(bucket, 'escape') ~ '^[^/\x01-\x1f\x7f]+$'
        AND position('\x00'::bytea IN bucket) = 0),
    CONSTRAINT object_path_form CHECK (octet_length(path) BETWEEN 1 AND 1024
        AND position('\x00'::bytea IN path) = 0),
    CONSTRAINT object_tag_form CHECK (tag ~ '^[ -~]{1,127}$')
);
CREATE INDEX object_content_id ON graviton.object (content_id);

-- Chunks of a content of N bytes: numbered from 0 without a gap, all of the chunk size but the
-- last.
CREATE FUNCTION graviton.object_content_fault(id uuid, chunk_size integer, byte_length bigint)
    RETURNS text
    LANGUAGE plpgsql STABLE AS $$
DECLARE
    chunks bigint;
    bytes_there bigint;
    wrong integer;
BEGIN
    SELECT count(*), coalesce(sum(octet_length(bytes)), 0),
            min(number) FILTER (WHERE octet_length(bytes) <> least(object_content_fault.chunk_size,
                object_content_fault.byte_length
                    - number::bigint * object_content_fault.chunk_size))
        INTO chunks, bytes_there, wrong
        FROM graviton.object_chunk WHERE content_id = id;
    IF wrong IS NOT NULL THEN
        RETURN format('chunk %s is not as long as it should be', wrong);
    ELSIF chunks <> (byte_length + chunk_size - 1) / chunk_size OR bytes_there <> byte_length THEN
        RETURN format('%s bytes in %s chunks, not %s bytes', bytes_there, chunks, byte_length);
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION graviton.object_content_finish() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.byte_length IS NOT NULL AND NEW.byte_length <> 0 THEN
            RAISE EXCEPTION 'object content: it has no chunks yet'
                USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    ELSIF (OLD.byte_length IS NOT NULL AND NEW.byte_length <> OLD.byte_length)
        OR (NEW.content_id, NEW.chunk_size) IS DISTINCT FROM (OLD.content_id, OLD.chunk_size) THEN
        RAISE EXCEPTION 'object content: it never changes once it is finished'
            USING ERRCODE = 'check_violation';
    ELSIF OLD.byte_length IS NULL AND NEW.byte_length IS NOT NULL THEN
        PERFORM core.is_sound('object content', graviton.object_content_fault(
            NEW.content_id, NEW.chunk_size, NEW.byte_length));
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER object_content_finish BEFORE INSERT OR UPDATE ON graviton.object_content
    FOR EACH ROW EXECUTE FUNCTION graviton.object_content_finish();

CREATE TRIGGER object_chunk_refuse_change BEFORE UPDATE ON graviton.object_chunk
    FOR EACH ROW EXECUTE FUNCTION graviton.refuse_change();

-- The lock keeps the content from being finished by another meanwhile. Where the content itself is
-- deleted it is gone already, and its chunks may follow.
CREATE FUNCTION graviton.object_chunk_refuse_late() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM graviton.object_content
        WHERE content_id = coalesce(NEW.content_id, OLD.content_id)
        FOR KEY SHARE;
    IF EXISTS (SELECT FROM graviton.object_content
               WHERE content_id = coalesce(NEW.content_id, OLD.content_id)
                   AND byte_length IS NOT NULL) THEN
        RAISE EXCEPTION 'object chunk: its content is finished' USING ERRCODE = 'check_violation';
    END IF;
    RETURN coalesce(NEW, OLD);
END
$$;
CREATE TRIGGER object_chunk_refuse_late BEFORE INSERT OR DELETE ON graviton.object_chunk
    FOR EACH ROW EXECUTE FUNCTION graviton.object_chunk_refuse_late();

-- Whoever has lost its last name, or may have: marked in the same transaction, always, so that one
-- who clears the mark meanwhile is waited for.
CREATE FUNCTION graviton.object_let_go() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR NEW.content_id <> OLD.content_id THEN
        UPDATE graviton.object_content SET unnamed_since = now()
            WHERE content_id = OLD.content_id;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER object_let_go AFTER UPDATE OF content_id OR DELETE ON graviton.object
    FOR EACH ROW EXECUTE FUNCTION graviton.object_let_go();

-- A put says that it goes on. GV004 where a sweep has taken what came before, or a crash of the
-- server, which may undo chunks: only the naming waits for the disk.
CREATE FUNCTION graviton.object_content_renew(id uuid) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM graviton.object_content
        WHERE content_id = id AND byte_length IS NULL AND unnamed_since > '-infinity'
        FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'what was sent of the object is gone: the server was restarted, or nothing '
            'came for a day' USING ERRCODE = 'GV004';
    END IF;
    UPDATE graviton.object_content SET unnamed_since = now()
        WHERE content_id = id AND unnamed_since < now() - interval '1 hour';
END
$$;

-- Gives a finished content a name. GV003 with if_absent where an object is there. old_content: what
-- the object had before, where that was another.
CREATE FUNCTION graviton.object_name(to_bucket bytea, to_path bytea, new_content uuid,
    new_size bigint, new_tag text, if_absent boolean,
    OUT modified timestamptz, OUT old_content uuid)
    LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        modified := clock_timestamp();
        INSERT INTO graviton.object AS o (bucket, path, content_id, size, tag, modified)
            VALUES (to_bucket, to_path, new_content, new_size, new_tag, object_name.modified)
            ON CONFLICT DO NOTHING;
        IF FOUND THEN
            RETURN;
        ELSIF if_absent THEN
            RAISE EXCEPTION 'an object is there already' USING ERRCODE = 'GV003';
        END IF;
        SELECT o.content_id INTO old_content FROM graviton.object o
            WHERE o.bucket = to_bucket AND o.path = to_path
            FOR UPDATE;
        IF FOUND THEN
            modified := clock_timestamp();
            UPDATE graviton.object o SET content_id = new_content, size = new_size, tag = new_tag,
                    modified = object_name.modified
                WHERE o.bucket = to_bucket AND o.path = to_path;
            old_content := nullif(old_content, new_content);
            RETURN;
        END IF;
        -- It was removed since: once more.
    END LOOP;
END
$$;

-- The end of a put: finishes its content and names it. GV003 as in object_name, GV004 where not all
-- that was sent is there any more.
CREATE FUNCTION graviton.object_put(to_bucket bytea, to_path bytea, new_content uuid,
    new_size bigint, new_tag text, if_absent boolean,
    OUT modified timestamptz, OUT old_content uuid)
    LANGUAGE plpgsql AS $$
BEGIN
    BEGIN
        UPDATE graviton.object_content SET byte_length = new_size, unnamed_since = NULL
            WHERE content_id = new_content AND byte_length IS NULL
                AND unnamed_since > '-infinity';
        IF NOT FOUND THEN
            RAISE EXCEPTION 'there is none' USING ERRCODE = 'check_violation';
        END IF;
    EXCEPTION WHEN check_violation THEN
        RAISE EXCEPTION 'what was sent of the object is gone: the server was restarted, or nothing '
            'came for a day (%)', SQLERRM USING ERRCODE = 'GV004';
    END;
    SELECT n.modified, n.old_content INTO modified, old_content
        FROM graviton.object_name(to_bucket, to_path, new_content, new_size, new_tag, if_absent) n;
END
$$;

-- Names the content of one object once more. All NULL where there is no such object; GV003 as in
-- object_name. The lock on the content keeps it from being deleted until it has the name; the
-- object may lose it meanwhile, after it was read.
CREATE FUNCTION graviton.object_copy(from_bucket bytea, from_path bytea, to_bucket bytea,
    to_path bytea, new_tag text, if_absent boolean,
    OUT size bigint, OUT modified timestamptz, OUT old_content uuid)
    LANGUAGE plpgsql AS $$
DECLARE
    content uuid;
BEGIN
    LOOP
        SELECT o.content_id, o.size INTO content, object_copy.size FROM graviton.object o
            WHERE o.bucket = from_bucket AND o.path = from_path;
        IF NOT FOUND THEN
            RETURN;
        END IF;
        PERFORM FROM graviton.object_content c
            WHERE c.content_id = content AND c.byte_length = object_copy.size
            FOR KEY SHARE;
        EXIT WHEN FOUND;
        -- It is gone, so the object was replaced or removed since: once more.
    END LOOP;
    SELECT n.modified, n.old_content INTO modified, old_content
        FROM graviton.object_name(to_bucket, to_path, content, object_copy.size, new_tag,
            if_absent) n;
END
$$;

-- Deletes a content that no object has, at most so many chunks at a time; true where there is more
-- to do. One that is locked, as by a copy, is left as it is: its mark stays. The second statement
-- sees what was committed until the lock was there.
CREATE FUNCTION graviton.object_content_drop(id uuid, chunks_max integer) RETURNS boolean
    LANGUAGE plpgsql AS $$
DECLARE
    chunks integer;
BEGIN
    PERFORM FROM graviton.object_content WHERE content_id = id FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF EXISTS (SELECT FROM graviton.object WHERE content_id = id) THEN
        UPDATE graviton.object_content SET unnamed_since = NULL
            WHERE content_id = id AND unnamed_since IS NOT NULL;
        RETURN false;
    END IF;
    UPDATE graviton.object_content SET byte_length = NULL, unnamed_since = '-infinity'
        WHERE content_id = id
            AND (byte_length IS NOT NULL OR unnamed_since IS DISTINCT FROM '-infinity');
    DELETE FROM graviton.object_chunk WHERE content_id = id
        AND number IN (SELECT number FROM graviton.object_chunk WHERE content_id = id
                       ORDER BY number LIMIT chunks_max);
    GET DIAGNOSTICS chunks = ROW_COUNT;
    IF chunks < chunks_max THEN
        DELETE FROM graviton.object_content WHERE content_id = id;
        RETURN false;
    END IF;
    RETURN true;
END
$$;

-- One step of a sweep; false where nothing is left to do. What a put has sent is garbage once
-- nothing came for a day: should the put live it fails, and nothing worse. What is finished is
-- garbage as soon as no object has it.
CREATE FUNCTION graviton.object_sweep(chunks_max integer) RETURNS boolean
    LANGUAGE plpgsql AS $$
DECLARE
    id uuid;
BEGIN
    SELECT content_id INTO id FROM graviton.object_content
        WHERE unnamed_since <= now()
            AND (byte_length IS NOT NULL OR unnamed_since < now() - interval '1 day')
        ORDER BY unnamed_since LIMIT 1
        FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM graviton.object_content_drop(id, chunks_max);
    RETURN true;
END
$$;
