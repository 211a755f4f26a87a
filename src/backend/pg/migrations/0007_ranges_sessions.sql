-- SPDX-License-Identifier: Apache-2.0
-- Ranges that are there of transfers under way, and the processes that write to the store.

CREATE FUNCTION graviton.range_count(ranges int8multirange) RETURNS integer
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN (SELECT count(*) FROM unnest(ranges));
END
$$;
CREATE FUNCTION graviton.range_bytes(ranges int8multirange) RETURNS bigint
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN (SELECT coalesce(sum(upper(r) - lower(r)), 0) FROM unnest(ranges) r);
END
$$;

CREATE TABLE graviton.byte_range (
    locator core.locator PRIMARY KEY,
    generation bigint NOT NULL,
    ranges int8multirange NOT NULL DEFAULT '{}',
    last_added int8multirange NOT NULL DEFAULT '{}',
    range_count integer GENERATED ALWAYS AS (graviton.range_count(ranges)) STORED,
    size_bytes bigint GENERATED ALWAYS AS (graviton.range_bytes(ranges)) STORED,
    CONSTRAINT byte_range_generation CHECK (generation >= 1),
    CONSTRAINT byte_range_bounds CHECK (
        ranges <@ int8multirange(int8range(0, 9223372036854775807))),
    CONSTRAINT byte_range_count CHECK (range_count <= 65536)
);

COMMENT ON COLUMN graviton.byte_range.last_added IS
    'what the last merge found new: how that merge comes to know it, in one statement';

-- A writer's row; it also holds advisory lock (0x67727674, 1) shared on the connection
-- backend_pid. A row without such a connection was left by a process that died. One that gives way
-- looks every second whether somebody has lock (0x67727674, 2), and ends its session for him.
CREATE TABLE graviton.session (
    session_id uuid PRIMARY KEY,
    host text NOT NULL,
    pid integer NOT NULL,
    command text NOT NULL,
    gives_way boolean NOT NULL DEFAULT false,
    backend_pid integer NOT NULL DEFAULT pg_backend_pid(),
    started_at timestamptz NOT NULL DEFAULT now()
);

-- The mark of whoever has the store to itself: it outlives its process, because what that process
-- has begun to delete has to be finished before anybody writes again.
CREATE TABLE graviton.exclusive_work (
    only_one boolean PRIMARY KEY DEFAULT true,
    session_id uuid NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    command text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT exclusive_work_one CHECK (only_one)
);
