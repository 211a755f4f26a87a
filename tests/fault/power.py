#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Cuts the power between any two calls on files, and wants a sound store after each cut.

Runs of the program are recorded (tests/fault/record.c), cut off after each call, and what may be
on disk then (tests/fault/disk.py) is laid out as real files. Of every such store it is wanted:

- verify --all finds nothing wrong, and ls shows every id that had been printed by then, under the
  name it was put with last, none that rm had removed, and none that was never put;
- a put of all the files succeeds, gives the same ids, and verify --all is content again: so what
  an unfinished put left behind is not taken for whole blocks;
- all of this with no help from outside.

  power.py PROGRAM RECORDER [--exhaustive] [--seed N] [--only WORDS] [--keep DIR]

Without --exhaustive the cuts are those beside syncs, names and acknowledgements, with fewer random
losses each. --keep leaves the files of the first cut that lost something in DIR.
"""

import argparse
import concurrent.futures
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading

import disk
import harness
from harness import NOT_FOUND, OK, Wrong, want

CHUNKER = ["--chunker", "cdc:16K"]
STORE = "new/store"  # under the recorded directory, which is durable; neither of these is at first
TELLING = ("stdout", "sync", "syncdir", "syncall", "rename", "link", "mkdir", "mark")  # kinds


class Layout:
    """How a scenario's store is named, given the recorded directory or a copy of it."""

    def __init__(self, name, options, syncs):
        self.name, self._options = name, options
        self.syncs = syncs  # the directory of block files
        self.ordered = [f"{STORE}/meta"]  # RocksDB's

    def options(self, directory):
        return [word.replace("@", os.path.join(directory, STORE)) for word in self._options]


FILES = Layout("files and rocks", ["--store", "@"], f"{STORE}/cas/blocks/blake3")
KV = Layout("kv:", ["--blocks", "kv:", "--meta", "rocks:@/meta"], None)


class Stage:
    """What all scenarios share: the program, the recorder, the files to put and their ids."""

    def __init__(self, bench, recorder, exhaustive, keep):
        self.bench, self.recorder = bench, os.path.abspath(recorder)
        self.exhaustive, self.keep = exhaustive, keep
        rng = bench.random
        medium = rng.randbytes(150000)
        self.data = {
            "small": rng.randbytes(3000),
            "tiny": b"x",
            "empty": b"",
            "medium": medium,
            "other": rng.randbytes(20000),
            "shares": medium[:90000] + rng.randbytes(30000),
            "late": rng.randbytes(5000),
        }
        self.paths = {name: bench.write(name, data) for name, data in self.data.items()}
        self.ids = {}
        for layout in (FILES, KV):
            # One by one, so that each id is known by its file and not by its place in a list.
            store = layout.options(bench.path("ids-" + layout.name[:2])) + CHUNKER
            os.mkdir(bench.path("ids-" + layout.name[:2]))
            for name, path in self.paths.items():
                out = bench.run("put", path, store=store).wants(OK).out
                self.ids[name] = out.decode().split("\t")[0]


class Recording:
    """A store's life: what was recorded of the processes that wrote to it, and what they said."""

    def __init__(self, stage, layout, name):
        self.stage, self.layout = stage, layout
        self.root = stage.bench.path(name, "root")
        self.log = stage.bench.path(name, "log")
        os.makedirs(self.root)
        self.timeline = []
        self.read = 0  # records of the log that are in the timeline

    def mark(self, what, names, called):
        for name in names:
            blob = self.stage.ids[name].encode()
            self.timeline.append(disk.Record("mark", 0, what, called or "", blob))

    def run(self, command, names, kill=None, called=None):
        """One process, which gives its blobs the name `called`. `kill` says where it kills itself,
        and then this whether it got there."""
        stage = self.stage
        words = [stage.paths[n] if command == "put" else stage.ids[n] for n in names]
        environment = dict(
            stage.bench.environment,
            LD_PRELOAD=stage.recorder,
            GRAVITON_RECORD_ROOT=self.root,
            GRAVITON_RECORD_LOG=self.log,
        )
        if kill:
            environment["GRAVITON_RECORD_KILL"] = str(kill)
        self.mark("begin " + command, names, called)
        options = self.layout.options(self.root) + CHUNKER
        options += ["--name", called] if called else []
        line = stage.bench.words(command, *words, store=options)
        done = subprocess.run(line, env=environment, capture_output=True, timeout=120)
        result = harness.Result(line[1:], done)
        if not kill:
            result.wants(OK)
        want(result.code in (OK, -9), f"neither done nor killed: {result}")
        records = disk.read_log(self.log) if os.path.exists(self.log) else []
        self.timeline += records[self.read :]
        self.read = len(records)
        if result.code == OK:
            self.mark("end " + command, names, called)
        return result.code != OK

    def check_complete(self):
        """The record, replayed, is what is really there: nothing was overlooked."""
        model = disk.Disk()
        for record in self.timeline:
            if record.kind != "mark":
                model.replay(record)
        path = disk.tree_difference(model.whole(), disk.tree_read(self.root))
        want(path is None, f"the record does not explain what is in {path}")
        syncs = [record for record in self.timeline if record.kind.startswith("sync")]
        acks = [record for record in self.timeline if record.kind == "stdout"]
        want(syncs and acks, "nothing was recorded: is the recorder loaded?")


class Promises:
    """What a store has to show at one moment."""

    def __init__(self):
        self.present = {}  # id -> the names it may have
        self.absent = set()
        self.called = ""  # what the process that runs calls its blobs
        self.line = b""

    def follow(self, record):
        if record.kind == "stdout":
            self.line += record.data
            while b"\n" in self.line:
                line, self.line = self.line.split(b"\n", 1)
                blob = line.decode().split("\t")[0]
                if self.called or blob not in self.present:
                    self.present[blob] = {self.called}
        elif record.kind == "mark":
            blob = record.data.decode()
            if record.path == "begin put":
                self.called = record.second
                self.absent.discard(blob)
                if self.called and blob in self.present:
                    self.present[blob].add(self.called)
            elif record.path == "begin rm":
                self.present.pop(blob, None)
            elif record.path == "end rm":
                self.absent.add(blob)

    def broken_by(self, shown):
        """What is wrong with the ids and names that ls shows, or None."""
        for blob, names in self.present.items():
            if blob not in shown:
                return f"{blob} was acknowledged, and is lost"
            if shown[blob] not in names:
                return f"{blob} is named {shown[blob]!r}, which was to be one of {sorted(names)}"
        back = self.absent & set(shown)
        return f"{min(back)} was removed, and is back" if back else None


class Inspector:
    """Lays crashed trees out as files and looks at the stores in them; each tree once."""

    def __init__(self, stage):
        self.stage = stage
        self.known = {}  # (layout, digest of a tree) -> future of (problem, what ls shows)
        self.lock = threading.Lock()
        self.pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1)
        self.room = threading.Semaphore(64)  # trees that wait

    def submit(self, layout, tree):
        key = (layout.name, disk.tree_digest(tree))
        with self.lock:
            if key in self.known:
                return self.known[key]
        self.room.acquire()  # pylint: disable=consider-using-with
        future = self.pool.submit(self._look, layout, tree)
        future.add_done_callback(lambda _: self.room.release())
        self.known[key] = future
        return future

    def _look(self, layout, tree):
        directory = tempfile.mkdtemp(prefix="cut-", dir=self.stage.bench.directory)
        try:
            disk.tree_write(tree, directory)
            return self._inspect(layout.options(directory))
        except Wrong as wrong:
            return str(wrong), {}
        finally:
            shutil.rmtree(directory)

    def _list(self, store):
        shown = {}
        rows = self.stage.bench.run("ls", "-l", store=store).wants(OK).out.decode().splitlines()
        for row in rows:
            fields = row.split("\t")
            want(fields[0] in self.stage.ids.values(), f"{fields[0]} was never put")
            shown[fields[0]] = fields[-1]
        return shown

    def _inspect(self, store):
        stage = self.stage
        verified = stage.bench.run("verify", "--all", store=store)
        shown = {}
        if verified.code != NOT_FOUND:
            want(verified.code == OK, f"{verified}; {verified.out.decode()[:400]}")
            shown = self._list(store)
        paths = list(stage.paths.values())
        again = stage.bench.run("put", *paths, store=store + CHUNKER).wants(OK)
        ids = {line.split("\t")[0] for line in again.out.decode().splitlines()}
        want(ids == set(stage.ids.values()), "a later put gave other ids")
        verified = stage.bench.run("verify", "--all", store=store)
        want(verified.code == OK, f"after a later put: {verified}; {verified.out.decode()[:400]}")
        good = {line.split("\t")[0] for line in verified.out.decode().splitlines()}
        want(good == ids, f"after a later put verify knows of {sorted(good)}")
        return None, shown

    def close(self):
        self.pool.shutdown(cancel_futures=True)


def is_ours(record, layout):
    """A step of ours towards durability, or an acknowledgement; none of RocksDB's own but the
    syncs of its log."""
    if record.kind in ("mark", "stdout"):
        return True
    path = record.second or record.path
    inside = path if record.kind == "syncdir" else os.path.dirname(path)
    if inside in layout.ordered:
        return record.kind == "sync" and path.endswith(".log")
    return record.kind in TELLING


def cuts_of(stage, recording, first):
    """Positions in the timeline before which the power is cut, from `first` on: all, or those
    beside our own steps and one in six of those beside RocksDB's."""
    timeline = recording.timeline
    for at in range(first, len(timeline) + 1):
        beside = timeline[max(at - 1, 0) : at + 1]
        ours = any(is_ours(record, recording.layout) for record in beside)
        telling = any(record.kind in TELLING for record in beside)
        if stage.exhaustive or ours or (telling and stage.bench.random.randrange(6) == 0):
            yield at


def prove(stage, inspector, recording, first=0, losses=None, extremes=True):
    """Cuts the power all along a recording, or from a position on, with so many random losses each.
    Returns how many cuts were looked at."""
    if losses is None:
        losses = 8 if stage.exhaustive else 1
    recording.check_complete()
    cuts = set(cuts_of(stage, recording, first))
    model, promises, waiting, count = disk.Disk(recording.layout.ordered), Promises(), [], 0
    rng = random.Random(stage.bench.random.getrandbits(64))
    for at in range(len(recording.timeline) + 1):
        if at in cuts:
            for word, tree in disk.crashes(model, rng, losses, extremes):
                count += 1
                future = inspector.submit(recording.layout, tree)
                wanted = Promises()
                wanted.present = {blob: set(names) for blob, names in promises.present.items()}
                wanted.absent = set(promises.absent)
                waiting.append((at, word, wanted, future, tree))
            waiting = judge(stage, recording, waiting, everything=False)
        if at < len(recording.timeline):
            record = recording.timeline[at]
            if record.kind != "mark":
                model.replay(record)
            promises.follow(record)
    judge(stage, recording, waiting, everything=True)
    return count


def judge(stage, recording, waiting, everything):
    """Raises on the first cut that broke a promise; those not looked at yet."""
    while waiting and (everything or waiting[0][3].done()):
        at, word, wanted, future, tree = waiting.pop(0)
        problem, shown = future.result()
        problem = problem or wanted.broken_by(shown)
        if problem:
            if stage.keep:
                os.makedirs(stage.keep)
                disk.tree_write(tree, stage.keep)
            around = recording.timeline[max(at - 6, 0) : at]
            last = "\n".join("  " + str(record) for record in around)
            raise Wrong(f"{problem}\npower cut at {at}, {word}; the last calls:\n{last}")
    return waiting


# ---- Scenarios ----


def life(stage, inspector, layout):
    """Puts, known content under another name, a removal, a put of what was removed."""
    recording = Recording(stage, layout, "life")
    recording.run("put", ["small", "tiny", "empty"])
    recording.run("put", ["medium"], called="before")
    recording.run("put", ["medium"], called="after")
    recording.run("put", ["small", "other", "shares"])
    recording.run("rm", ["tiny", "medium"])
    recording.run("put", ["tiny"])
    return prove(stage, inspector, recording)


def killed_before_sync(stage, inspector, layout):
    """A second process finds blocks whose names a killed one has not made durable."""
    count = 0
    for name, path, before in (
        ("names", layout.syncs, ["small"]),
        ("directory", os.path.dirname(layout.syncs), []),  # only a store's first put syncs it
    ):
        recording = Recording(stage, layout, f"killed-{name}")
        if before:
            recording.run("put", before)
        killed = recording.run("put", ["other"], kill=f"syncdir:{path}")
        want(killed, f"no sync of {path}: the scenario has lost its point")
        first = len(recording.timeline)
        recording.run("put", ["other"])
        count += prove(stage, inspector, recording, first)
    return count


def making_cut_short(stage, inspector, layout):
    """The first put of a store is killed in place of each of its calls, another process follows."""
    calls = Recording(stage, layout, "whole")
    calls.run("put", ["small"])
    records = [record for record in calls.timeline if record.kind != "mark"]
    places = range(1, len(records) + 1)
    if not stage.exhaustive:
        places = [n for n in places if is_ours(records[n - 1], layout)]
        places = [n for n in places if records[n - 1].kind != "mkdir"]
    count = 0
    for place in places:
        recording = Recording(stage, layout, f"making-{place}")
        recording.run("put", ["small"], kill=place)
        first = len(recording.timeline)
        recording.run("put", ["small", "late"])
        losses = 1 if stage.exhaustive else 0
        count += prove(stage, inspector, recording, first, losses, extremes=False)
        shutil.rmtree(os.path.dirname(recording.root))
    return count


def scenarios():
    for layout in (FILES, KV):
        yield f"power cuts, {layout.name}", life, layout
        if layout.syncs:
            yield f"power cuts after a kill, {layout.name}", killed_before_sync, layout
        yield f"power cuts after a making cut short, {layout.name}", making_cut_short, layout


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    harness.add_arguments(parser)
    parser.add_argument("recorder", help="the library that tests/fault/record.c became")
    parser.add_argument("--exhaustive", action="store_true", help="every cut, more losses each")
    parser.add_argument("--keep", help="a directory, not there yet, for what was lost first")
    arguments = parser.parse_args()

    def test(scenario, layout):
        def body(bench):
            stage = Stage(bench, arguments.recorder, arguments.exhaustive, arguments.keep)
            inspector = Inspector(stage)
            try:
                count = scenario(stage, inspector, layout)
                print(f"# {count} cuts, {len(inspector.known)} stores", flush=True)
            finally:
                inspector.close()

        return body

    tests = [(name, test(scenario, layout)) for name, scenario, layout in scenarios()]
    harness.main(tests, arguments)


if __name__ == "__main__":
    sys.exit(main())
