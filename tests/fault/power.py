#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Cuts the power between any two calls on files, and wants a sound store after each cut.

Runs of the program are recorded (tests/fault/record.c), cut off after each call, and what may be
on disk then (tests/fault/disk.py) is laid out as real files. Of every such store it is wanted:

- verify --all finds nothing wrong, and ls shows every id that had been printed by then, under the
  name it was put with last, none that rm had removed, and none that was never put;
- a put of all the files succeeds, gives the same ids, and verify --all is content again: so what
  an unfinished put left behind is not taken for whole blocks, and a bad block that scrub had said
  to be set aside is not taken for a good one;
- all of this with no help from outside.

Objects under locators are looked at likewise: what object put and cp had printed is there, whole.

  power.py PROGRAM RECORDER [--exhaustive] [--seed N] [--only WORDS] [--keep DIR]

Without --exhaustive the cuts are those beside syncs, names and acknowledgements, with fewer random
losses each. --keep leaves the files of the first cut that lost something in DIR.
"""

import argparse
import collections
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
from harness import CONFLICT, CORRUPT, NOT_FOUND, OK, Wrong, want

CHUNKER = ["--chunker", "cdc:16K"]
STORE = "new/store"  # under the recorded directory, which is durable; neither of these is at first
TELLING = ("stdout", "sync", "syncdir", "syncall", "rename", "link", "mkdir", "mark")  # kinds


COPY = "new/copy"  # where a backup goes


class Layout:
    """How a scenario's store is named, given the recorded directory or a copy of it."""

    def __init__(self, name, options, place=STORE):
        self.name, self._options, self.place = name, options, place
        self.blocks = f"{STORE}/cas/blocks"
        # RocksDB's directories, and what one is called while a backup makes it.
        self.ordered = [f"{STORE}/meta", f"{STORE}-meta", f"{COPY}/meta", f"{COPY}/meta.partial"]

    def options(self, directory):
        return [word.replace("@", os.path.join(directory, self.place)) for word in self._options]


# The reserve is small here, or the model would carry all of it about.
TOGETHER = ["--blocks", "fs:@", "--meta", "rocks:@/meta?reserve=64K"]
FILES = Layout("files and rocks together", TOGETHER)
APART = Layout("files and rocks apart", ["--blocks", "fs:@", "--meta", "rocks:@-meta?reserve=0"])
KV = Layout("all in rocks", ["--blocks", "kv:", "--meta", "rocks:@/meta?reserve=0"])
FILES_COPY = Layout("backup of both", ["--store", "@"], COPY)
KV_COPY = Layout("backup of rocks", ["--blocks", "kv:", "--meta", "rocks:@/meta"], COPY)
OBJECTS = Layout("objects", ["--root", "b=@"], ".")

# What was found in a crashed store: what is wrong with it; what ls showed (id -> name, or path of
# an object -> its bytes); which ids were corrupt, and still were after a put of all files; whether
# a block was found set aside, or cannot be looked for.
SEEN = {"problem": None, "shown": {}, "bad": (), "unhealed": (), "kept": True}
Seen = collections.namedtuple("Seen", SEEN, defaults=SEEN.values())


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
        os.mkdir(bench.path("ids"))
        store = KV.options(bench.path("ids")) + CHUNKER
        self.ids = {}
        for name, path in self.paths.items():  # one by one: each id is known by its file
            out = bench.run("put", path, store=store).wants(OK).out
            self.ids[name] = out.decode().splitlines()[0].split("\t")[0]


class Recording:
    """A store's life: what was recorded of the processes that wrote to it, and what they said."""

    def __init__(self, stage, layout, name):
        self.stage, self.layout = stage, layout
        self.root = stage.bench.path(name, "root")
        self.log = stage.bench.path(name, "log")
        os.makedirs(self.root)
        self.timeline = []
        self.read = 0  # records of the log that are in the timeline
        self.objects = {}  # path -> content, of the objects that were put

    def mark(self, what, names, called):
        for name in names or [None]:
            blob = self.stage.ids[name].encode() if name else b""
            self.timeline.append(disk.Record("mark", 0, what, called or "", blob))

    def run(self, command, names=(), kill=None, called=None, more=(), code=OK):
        """One process, which gives its blobs the name `called`. `kill` says where it kills itself,
        and then this whether it got there."""
        stage = self.stage
        words = [stage.paths[n] if command == "put" else stage.ids[n] for n in names]
        self.mark("begin " + command, names, called)
        options = self.layout.options(self.root) + CHUNKER
        options += (["--name", called] if called else []) + list(more)
        code = self.record(stage.bench.words(command, *words, store=options), kill, code)
        if code >= 0:
            self.mark("end " + command, names, called)
        return code < 0

    def object(self, action, path, name=None, code=OK, kill=None, more=()):
        """As run, for one object: put of a file's bytes, cp from another object's path, rm."""
        there = [f"fs://b/{path}"]
        data = b""
        if action == "put":
            there, data = there + [self.stage.paths[name]], self.stage.data[name]
        elif action == "cp":
            there, data = [f"fs://b/{name}"] + there, self.objects[name]
        self.timeline.append(disk.Record("mark", 0, f"begin {action}", path, data))
        options = self.layout.options(self.root) + list(more)
        line = self.stage.bench.words("object", action, *there, store=options)
        code = self.record(line, kill, code)
        if code >= 0:
            self.timeline.append(disk.Record("mark", code, f"end {action}", path, data))
            self.objects[path] = data
        return code < 0

    def record(self, line, kill=None, code=OK):
        """Runs one process and takes up what it did. Its exit code; below 0 if it was killed."""
        environment = dict(
            self.stage.bench.environment,
            LD_PRELOAD=self.stage.recorder,
            GRAVITON_RECORD_ROOT=self.root,
            GRAVITON_RECORD_LOG=self.log,
        )
        if kill:
            environment["GRAVITON_RECORD_KILL"] = str(kill)
        done = subprocess.run(line, env=environment, capture_output=True, timeout=120)
        result = harness.Result(line[1:], done)
        if not kill:
            result.wants(code)
        want(result.code in (code, -9), f"neither done nor killed: {result}")
        records = disk.read_log(self.log) if os.path.exists(self.log) else []
        self.timeline += records[self.read :]
        self.read = len(records)
        return result.code

    def spoil(self, name):
        """Damages a stored block of a file that has one block; the damage is durable at once."""
        self.mark("begin spoil", [name], None)
        if self.layout is KV:
            line = [self.stage.bench.spoiler, os.path.join(self.root, STORE, "meta"), "block", "0"]
            self.record(line)
        else:
            block = self.stage.ids[name].split(":")[1]
            path = harness.block_files(self.root)[block]
            with open(path, "r+b") as file:
                flipped = bytes([file.read(1)[0] ^ 1])
                file.seek(0)
                file.write(flipped)
            inside = os.path.relpath(path, self.root)
            self.timeline.append(disk.Record("write", 0, inside, "", flipped))
            self.timeline.append(disk.Record("sync", 0, inside, "", b""))
        self.mark("end spoil", [name], None)

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

    def promises(self):
        """What is promised at the recording's beginning."""
        return Objects() if self.layout is OBJECTS else Promises(self.layout.place == COPY)


class Promises:
    """What a store has to show at one moment; of a backup, nothing until it has ended."""

    def __init__(self, copied=False):
        self.present = {}  # id -> the names it may have
        self.absent = set()
        self.damaged = set()  # ids with a block that was spoiled, and may not be healed
        self.aside = False  # those blocks were set aside: a put heals them
        self.kept = False  # and are kept there, for no collection has begun
        self.command = None  # what runs
        self.called = ""  # what it calls its blobs
        self.line = b""
        self.copied = copied  # the store is a copy that is not yet made

    def now(self):
        """What is promised at this moment, to be looked at later."""
        promises = Promises(self.copied)
        promises.present = {blob: set(names) for blob, names in self.present.items()}
        promises.absent, promises.damaged = set(self.absent), set(self.damaged)
        promises.aside, promises.kept = self.aside, self.kept
        return promises

    def follow(self, record):
        if record.kind == "stdout":
            self.line += record.data
            while b"\n" in self.line:
                line, self.line = self.line.split(b"\n", 1)
                self._printed(line.decode().split("\t"))
        elif record.kind == "mark":
            self.command = record.path.split(" ")[1]
            self.copied = self.copied and record.path != "end backup"
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
            elif record.path == "begin spoil":
                self.damaged.add(blob)
            elif record.path == "begin gc":
                self.kept = False

    def _printed(self, words):
        if self.command == "put":
            if self.called or words[0] not in self.present:
                self.present[words[0]] = {self.called}
            if self.aside:
                self.damaged.discard(words[0])
        elif self.command == "scrub" and words[0] == "corrupt" and len(words) > 2:
            want(words[2] == "set aside", f"scrub left it where it is: {words}")
            self.aside = self.kept = True

    def broken_by(self, seen):
        """What is wrong with what was seen, or None."""
        shown = seen.shown
        if self.copied and not shown:
            return None
        for blob, names in self.present.items():
            if blob not in shown:
                return f"{blob} was acknowledged, and is lost"
            if shown[blob] not in names:
                return f"{blob} is named {shown[blob]!r}, which was to be one of {sorted(names)}"
        back = self.absent & set(shown)
        if back:
            return f"{min(back)} was removed, and is back"
        for word, blobs in (("", seen.bad), (" after a later put", seen.unhealed)):
            wrong = set(blobs) - (set() if word and self.aside else self.damaged)
            if wrong:
                return f"{min(wrong)} is corrupt{word}"
        return "a block that was set aside is gone" if self.kept and not seen.kept else None


class Objects:
    """What there has to be of objects: for each path, the contents of which one is there."""

    def __init__(self):
        self.allowed = {}  # path -> contents; None for no object
        self.running = None  # (path, content) of the command that runs

    def now(self):
        promises = Objects()
        promises.allowed = {path: set(contents) for path, contents in self.allowed.items()}
        return promises

    def follow(self, record):
        path = record.second
        if record.kind == "stdout" and self.running:
            self.allowed[self.running[0]] = {self.running[1]}
        elif record.kind == "mark":
            verb, action = record.path.split(" ")
            content = None if action == "rm" else record.data
            self.running = (path, content) if verb == "begin" and action != "rm" else None
            if verb == "begin":
                self.allowed.setdefault(path, {None}).add(content)
            elif record.offset == CONFLICT:  # one was there already, it said
                self.allowed[path].discard(None)
            else:
                self.allowed[path] = {content}

    def broken_by(self, seen):
        for path in set(self.allowed) | set(seen.shown):
            if seen.shown.get(path) not in self.allowed.get(path, ()):
                there = "other bytes" if path in seen.shown else "nothing"
                return f"there is {there} at {path}"
        return None


class Inspector:
    """Lays crashed trees out as files and looks at the stores in them; each tree once."""

    def __init__(self, stage):
        self.stage = stage
        self.known = {}  # (layout, digest of a tree) -> future of what was seen
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
            if layout is OBJECTS:
                return self._inspect_objects(layout.options(directory))
            seen = self._inspect(layout, directory)
            aside = [path for path in tree if "/.quarantine/" in path and tree[path] is not None]
            return seen._replace(kept=layout is not FILES or any(tree[path].data for path in aside))
        except Wrong as wrong:
            return Seen(str(wrong))
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

    def _bad(self, verified):
        """The ids that verify found corrupt; nothing else may be wrong."""
        rows = [line.split("\t") for line in verified.out.decode().splitlines()]
        bad = sorted({row[0] for row in rows if row[1] == "corrupt"})
        want(verified.code == (CORRUPT if bad else OK), str(verified))
        return bad

    def _inspect(self, layout, directory):
        stage, store = self.stage, layout.options(directory)
        verified = stage.bench.run("verify", "--all", store=store)
        shown, bad = {}, []
        if verified.code not in (NOT_FOUND, CONFLICT if layout.place == COPY else NOT_FOUND):
            bad, shown = self._bad(verified), self._list(store)
            want(shown or layout.place != COPY, "a copy that is no store has opened as one")
        elif layout.place == COPY:
            return Seen()
        paths = list(stage.paths.values())
        again = stage.bench.run("put", *paths, store=store + CHUNKER).wants(OK)
        ids = {line.split("\t")[0] for line in again.out.decode().splitlines()}
        want(ids == set(stage.ids.values()), "a later put gave other ids")
        verified = stage.bench.run("verify", "--all", store=store)
        unhealed = self._bad(verified)
        known = {line.split("\t")[0] for line in verified.out.decode().splitlines()}
        want(known == ids, f"after a later put verify knows of {sorted(known)}")
        return Seen(None, shown, bad, unhealed)

    def _inspect_objects(self, store):
        bench, shown = self.stage.bench, {}
        for row in bench.run("object", "ls", "fs://b/", store=store).wants(OK).out.splitlines():
            path = row.decode().split("\tfs://b/")[1]
            shown[path] = bench.run("object", "get", f"fs://b/{path}", store=store).wants(OK).out
        for path in shown or ["a/b/one"]:
            late = ["put", f"fs://b/{path}", self.stage.paths["late"]]
            bench.run("object", *late, store=store).wants(OK)
            got = bench.run("object", "get", f"fs://b/{path}", store=store).wants(OK)
            want(got.out == self.stage.data["late"], f"a later put of {path} gave other bytes")
        return Seen(None, shown)

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
    model, waiting, count = disk.Disk(recording.layout.ordered), [], 0
    promises = recording.promises()
    rng = random.Random(stage.bench.random.getrandbits(64))
    for at in range(len(recording.timeline) + 1):
        if at in cuts:
            for word, tree in disk.crashes(model, rng, losses, extremes):
                count += 1
                future = inspector.submit(recording.layout, tree)
                waiting.append((at, word, promises.now(), future, tree))
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
        seen = future.result()
        problem = seen.problem or wanted.broken_by(seen)
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
    recording.run("gc")
    recording.run("put", ["tiny", "medium"])
    return prove(stage, inspector, recording)


def first_put(stage, inspector, layout):
    """The making of a store and one put."""
    recording = Recording(stage, layout, "first")
    recording.run("put", ["small"])
    return prove(stage, inspector, recording)


def killed_before_sync(stage, inspector, layout):
    """A second process finds blocks whose names a killed one has not made durable."""
    count = 0
    for name, path, before in (
        ("names", f"{layout.blocks}/blake3", ["small"]),
        ("directory", layout.blocks, []),  # only a store's first put syncs it
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


def backed_up(stage, inspector, layout):
    """A backup: at any cut the copy is no store or is whole, and it is whole once that was said."""
    count = 0
    copied = FILES_COPY if layout is FILES else KV_COPY
    for words in ([], ["--copy"]):
        recording = Recording(stage, layout, "backup" + "".join(words))
        recording.run("put", ["small", "medium"])
        first = len(recording.timeline)
        recording.run("backup", more=words + [os.path.join(recording.root, COPY)])
        recording.layout = copied
        count += prove(stage, inspector, recording, first)
    return count


def scrubbed(stage, inspector, layout):
    """A block goes bad, scrub sets it aside, a put of the same file heals it, gc frees the copy."""
    recording = Recording(stage, layout, "scrubbed")
    recording.run("put", ["small"])
    first = len(recording.timeline)
    recording.spoil("small")
    recording.run("scrub", code=CORRUPT)
    recording.run("put", ["small"])
    recording.run("put", ["tiny"])
    recording.run("gc")
    return prove(stage, inspector, recording, first)


def objects(stage, inspector, layout):
    """Objects put, replaced, copied and removed, in directories of their own."""
    recording = Recording(stage, layout, "objects")
    recording.object("put", "a/b/one", "small")
    recording.object("put", "a/b/two", "medium")
    recording.object("put", "a/b/one", "other")
    recording.object("put", "a/c/new", "tiny", more=["--if-absent"])
    recording.object("cp", "d/copy", "a/b/one")
    recording.object("rm", "a/b/two")
    return prove(stage, inspector, recording)


def objects_after_kill(stage, inspector, layout):
    """A second process relies on what a killed one has not made durable: a directory, an object
    that is there already, one that is gone already."""
    count = 0
    for name, before, place, action, code in (
        ("directory", [], "", ("put", "a/other", "late"), OK),
        ("exists", ["a/other"], "a+", ("put", "a/one", "late"), CONFLICT),
        ("gone", ["a/other", "a/one"], "a+", ("rm", "a/one"), NOT_FOUND),
    ):
        recording = Recording(stage, layout, f"objects-{name}")
        for path in before:
            recording.object("put", path, "small")
        begun = ("rm", "a/one") if name == "gone" else ("put", "a/one", "other")
        more = ["--if-absent"] if action[0] == "put" else []
        want(recording.object(*begun, kill=f"syncdir:{place}"), f"no sync of {place!r}")
        first = len(recording.timeline)
        recording.object(*action, code=code, more=more)
        count += prove(stage, inspector, recording, first)
    return count


def scenarios():
    for words, scenario, layouts in (
        ("power cuts", life, [FILES, KV]),
        ("power cuts in a first put", first_put, [APART]),
        ("power cuts after a kill", killed_before_sync, [FILES]),
        ("power cuts after a making cut short", making_cut_short, [FILES, APART, KV]),
        ("power cuts in a backup", backed_up, [FILES, KV]),
        ("power cuts after damage", scrubbed, [FILES, KV]),
        ("power cuts", objects, [OBJECTS]),
        ("power cuts after a killed put", objects_after_kill, [OBJECTS]),
    ):
        for layout in layouts:
            yield f"{words}: {layout.name}", scenario, layout


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    harness.work_in_memory()
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
