-- SPDX-License-Identifier: Apache-2.0
-- Objects: a name, and the content it has at the moment. Content is written in chunks before any
-- object has it; once finished it is whole and never changes. Several objects may share one.

CREATE TABLE graviton.object_content (
    content_id uuid PRIMARY KEY,
    chunk_size integer NOT NULL DEFAULT 262144,
    byte_length core.byte_size,
    session_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT object_content_size_key UNIQUE (content_id, byte_length),
    CONSTRAINT object_content_chunk_size CHECK (chunk_size BETWEEN 1 AND 1048576)
);
COMMENT ON COLUMN graviton.object_content.byte_length IS 'NULL until all chunks are there';

CREATE TABLE graviton.object_chunk (
    content_id uuid NOT NULL REFERENCES graviton.object_content ON DELETE CASCADE,
    number integer NOT NULL,
    bytes bytea NOT NULL,
    PRIMARY KEY (content_id, number),
    CONSTRAINT object_chunk_number CHECK (number >= 0),
    CONSTRAINT object_chunk_length CHECK (octet_length(bytes) BETWEEN 1 AND 1048576)
);
ALTER TABLE graviton.object_chunk ALTER COLUMN bytes SET STORAGE EXTERNAL;

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
    ELSIF OLD.byte_length IS NOT NULL
        OR (NEW.content_id, NEW.chunk_size) IS DISTINCT FROM (OLD.content_id, OLD.chunk_size) THEN
        RAISE EXCEPTION 'object content: it never changes once it is finished'
            USING ERRCODE = 'check_violation';
    ELSIF NEW.byte_length IS NOT NULL THEN
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
