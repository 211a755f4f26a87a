#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every byte of a small store's files changed, one at a time: never served wrong, never a crash.

Two stores, blocks in files and blocks in RocksDB, with blobs that share blocks, one in pages, one
of no bytes, attributes and a removal. After each change the whole store is read (flip.c does that
through the library): either all of it is as it was, or damage is told, and what is given out beside
that is right; reading writes nothing. Of each kind of outcome some changes are tried with the
program too, on a copy: its exit codes and messages, and a put of content old and new, which never
says OK for what cannot be read then.

RocksDB's info log and the lock file are left out: each opening writes them anew, and nothing reads
them.

  flip.py PROGRAM [--seed N] [--every] [--jobs N]
"""

import argparse
import collections
import os
import re
import shutil
import subprocess

import harness
from harness import CONFLICT, CORRUPT, OK, OTHER, want

BOUNDED = os.environ.get("GRAVITON_TEST_BOUNDED") == "1"
# Changes a file, where not every byte is changed.
SAMPLE = 8
# Changes that the program is tried with, on each store, where not every kind of outcome is.
PROGRAM_TRIALS = 3

Kind = collections.namedtuple("Kind", "verdict count file offset mask note")


class Life:
    """A store that went through some processes: tables, a log of more than one write, removals."""

    def __init__(self, bench, name, in_rocks):
        self.bench = bench
        self.directory = bench.path(name)
        self.in_rocks = in_rocks
        self.blobs = {}
        # Values from 4096 bytes on go to files of their own in RocksDB, once it writes tables.
        self.size = 4200 if in_rocks else 300
        self.live()

    def line(self, size):
        """A block: the store's chunker cuts after each line."""
        data = self.bench.random.randbytes(size - 1)
        return data.replace(b"\n", b".") + b"\n"

    def place(self, directory):
        if not self.in_rocks:
            return ["--store", directory]
        return ["--blocks", "kv:", "--meta", "rocks:" + directory]

    def put(self, data, *words):
        store = self.place(self.directory)
        blob = self.bench.put(store, data, "--chunker", "delimiter:0a", *words)
        self.blobs[blob] = data

    def live(self):
        store = self.place(self.directory)
        lines = [self.line(self.size) for _ in range(3)]
        self.put(b"".join(lines) + self.line(17), "--name", "a first file", "--type", "text/plain")
        gone = self.bench.put(store, self.line(self.size + 1))
        self.put(lines[0] + self.line(50), "--name", "shares a block")
        self.bench.run("rm", gone, store=store).wants(OK)
        self.bench.run("gc", store=store).wants(OK)
        self.put(lines[1] + b"short\n" * 260)  # so many blocks go to pages
        if self.in_rocks:
            self.flush()
        self.put(b"")
        names = {}
        for i in range(3):  # one process, so that the log holds several writes
            data = self.line(60 + i) + bytes(200)
            names[self.bench.write(f"{os.path.basename(self.directory)}-{i}", data)] = data
        lines = self.bench.run("put", *names, store=store).wants(OK).out.decode().splitlines()
        self.blobs.update((line.split("\t")[0], names[line.split("\t")[1]]) for line in lines)

    def flush(self):
        """Has RocksDB write tables, which opening to write does of a log."""
        self.bench.run("put", "-", store=self.place(self.directory), given=b"").wants(OK)

    def copy(self, name):
        directory = self.bench.path(name)
        shutil.copytree(self.directory, directory)
        return directory


# ---- Through the library ----


def flip(bench, life, arguments):
    """Runs the trials on copies, several at once; the kinds of outcomes."""
    jobs = arguments.jobs
    sample = 0 if arguments.every else 2 if BOUNDED else SAMPLE
    processes = []
    for job in range(jobs):
        line = [os.path.join(os.path.dirname(bench.spoiler), "fault-flip")]
        line += ["--kv" if life.in_rocks else "--fs", life.copy(f"job{job}")]
        line += [str(word) for word in (arguments.seed, sample, job, jobs)]
        processes.append(subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    kinds = {}
    for process in processes:
        out, errors = process.communicate()
        want(process.returncode == 0, f"fault-flip: {process.returncode}: {errors.decode()}")
        for line in out.decode("utf-8", "replace").split("\n")[:-1]:
            verdict, count, file, offset, mask, note = line.split("\t", 5)
            shape = (verdict, file, re.sub(r"job[0-9]+|near '.*|[0-9a-f]{8,}|[0-9]+", "#", note))
            before = kinds.get(shape)
            total = int(count) + (before.count if before else 0)
            kinds[shape] = Kind(verdict, total, file, int(offset), int(mask), note)
    return list(kinds.values())


def names_damage(bench, life, kind):
    """Whether a message names a blob, the file, or at least the store's directory."""
    names = [os.path.basename(kind.file), os.path.join(bench.directory, "job")] + list(life.blobs)
    return any(name in kind.note for name in names)


def judge(bench, life, kinds):
    counts = collections.Counter()
    bad = []
    for kind in kinds:
        counts[kind.verdict] += kind.count
        # An id, version or feature of the superblock that another store may well have.
        refused = kind.verdict == "refused" and kind.file == "graviton.json"
        told = kind.verdict == "found" and names_damage(bench, life, kind)
        if not (told or refused or kind.verdict == "harmless"):
            bad.append(kind)
    words = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    print(f"# {sum(counts.values())} bytes changed: {words}", flush=True)
    want(not bad, f"{len(bad)} kinds of wrong outcomes:\n" + "\n".join(map(str, bad[:40])))


# ---- Through the program ----


class Trial:
    """One change on a copy of a store, and what the program makes of it."""

    def __init__(self, bench, life, kind):
        self.bench = bench
        self.life = life
        self.kind = kind
        self.directory = life.copy("trial")
        self.store = life.place(self.directory)
        self.codes = {OK} if kind.verdict == "harmless" else {OK, CORRUPT}
        if kind.verdict == "refused":
            self.codes = {CONFLICT, OTHER}
        path = os.path.join(self.directory, kind.file)
        with open(path, "r+b") as file:
            file.seek(kind.offset)
            byte = file.read(1)[0]
            file.seek(kind.offset)
            file.write(bytes([byte ^ kind.mask]))

    def run(self, *words, given=None):
        got = self.bench.run(*words, store=self.store, given=given)
        want(got.code in self.codes, f"after {self.kind}: want exit {self.codes}: {got}")
        want(got.code == OK or got.err != "", f"after {self.kind}: no message: {got}")
        return got

    def get(self, blob, data):
        """The blob's bytes or a prefix of them; whether all came."""
        got = self.run("get", blob)
        whole = got.code == OK
        right = got.out == data if whole else data.startswith(got.out)
        want(right, f"after {self.kind}: {blob} is given out wrong")
        return whole

    def read(self):
        """Everything that reads. Whether damage was found, and the blobs that are whole."""
        found = self.run("verify", "--all").code != OK
        shown = self.run("ls")
        ids = [line.split("\t")[0] for line in shown.out.decode().splitlines()]
        want(set(ids) <= set(self.life.blobs), f"after {self.kind}: ls shows what was never put")
        want(
            shown.code != OK or len(ids) == len(self.life.blobs),
            f"after {self.kind}: ls leaves out a blob",
        )
        whole = {blob for blob, data in self.life.blobs.items() if self.get(blob, data)}
        codes = {self.run("stat", blob).code for blob in self.life.blobs}
        # Only these go through the lists of blocks and of commits; damage there is no blob's.
        for words in (("stats",), ("ls", "--newest")):
            found = self.run(*words).code != OK or found
        return found or shown.code != OK or codes != {OK} or len(whole) < len(codes), whole

    def is_shut(self):
        """Whether the damage keeps the store as a whole from being opened. RocksDB refuses a
        database where one of the sixteen tables that it reads at once is damaged, and a put, which
        merges tables, can bring a damaged one among these. Nothing is lost or served then, and
        every command names the file."""
        got = self.run("ls")
        named = os.path.basename(self.kind.file) in got.err
        return got.code == CORRUPT and "cannot open the database" in got.err and named

    def write(self, whole):
        """Puts, of known and of new content. Known content whose stored block is damaged stays
        damaged: a put takes a block that is there for a duplicate, and scrub is what heals it."""
        new = self.bench.random.randbytes(500)
        for data in list(self.life.blobs.values()) + [new]:
            put = self.run("put", "-", given=data)
            if put.code != OK:
                continue
            blob = put.out.decode().split("\t")[0]
            if blob in whole or data is new:
                there = self.get(blob, data) or self.is_shut()
                want(there, f"after {self.kind}: {blob} was put and is not there")
        for blob, data in self.life.blobs.items():
            self.get(blob, data)


def through_program(bench, life, kinds, every):
    """Some change of each kind, or of a few."""
    count = len(kinds) if every else 2 if BOUNDED else PROGRAM_TRIALS
    for kind in bench.random.sample(kinds, min(count, len(kinds))):
        trial = Trial(bench, life, kind)
        if kind.verdict == "refused":
            trial.run("verify", "--all")
            trial.run("put", "-", given=b"new")
        else:
            found, whole = trial.read()
            want(found == (kind.verdict == "found"), f"{kind}: the program finds otherwise")
            trial.write(whole)
        shutil.rmtree(trial.directory)


def changed_bytes(bench, in_rocks, arguments):
    life = Life(bench, "store", in_rocks)
    kinds = flip(bench, life, arguments)
    judge(bench, life, kinds)
    through_program(bench, life, kinds, arguments.every)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    harness.work_in_memory()
    harness.add_arguments(parser)
    parser.add_argument("--every", action="store_true", help="every byte, and not a sample")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    harness.main(
        [
            ("bytes changed, files", lambda bench: changed_bytes(bench, False, arguments)),
            ("bytes changed, kv:", lambda bench: changed_bytes(bench, True, arguments)),
        ],
        arguments,
    )


if __name__ == "__main__":
    main()
