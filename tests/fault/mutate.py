#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Takes one step of durability out of the code at a time, and wants the power cuts to notice.

Each mutation replaces a piece of source, builds the program in a copy of the tree, and runs
tests/fault/power.py on it, which has to find a loss. It is an error where a piece of source is not
found exactly once, where a mutated program breaks before the power is cut, and where a sync, a
durable write, or a rename in src/ is neither taken out by a mutation nor listed with the reason why
no acknowledgement stands on it: tests/fault/mutations.py has both lists.

  mutate.py [--only WORDS] [--seed N] [--tree DIR] [--list]

--tree keeps the copy of the tree in DIR and takes it up again, which saves building all of it; what
has changed in the tree since is copied anew. --list builds nothing: it checks and shows the lists.
"""

import argparse
import filecmp
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

from mutations import KEPT, MUTATIONS

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

PASSED_ON = ("src/backend/memory/", "src/layer/")  # nothing lasts there, or another does it
SYNC = re.compile(
    r"->(fsync|fdatasync|syncfs|renameat|linkat)\(|(?<![\w>.])(fsync|fdatasync|syncfs|rename|"
    r"renameat|link|linkat|grv_file_sync|grv_directory_sync|parent_sync|directory_sync|fs_settle|"
    r"grv_fs_directory_settle|grv_fs_place_sync|checkpoint_settle|grv_kv_flush|"
    r"grv_block_store_flush|rocksdb_writeoptions_set_sync|rocksdb_flush_wal|grv_rocks_sync)\(|"
    r"\bGRV_DURABLE\b"
)


def source(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def span_of(path, text):
    """Where a piece of source is; it must be there once."""
    whole = source(path)
    if whole.count(text) != 1:
        sys.exit(f"{path}: found {whole.count(text)} times, want once: {text!r}")
    at = whole.index(text)
    return at, at + len(text)


def check_complete():
    """Every step towards durability is taken out by a mutation, or kept with a reason."""
    spans = {}
    moved = [(m[1], m[5]) for m in MUTATIONS if len(m) > 5]
    for path, text in moved + [m[1:3] for m in MUTATIONS] + [k[:2] for k in KEPT]:
        spans.setdefault(path, []).append(span_of(path, text))
    missed = 0
    for folder, _, names in os.walk(os.path.join(ROOT, "src")):
        for name in names:
            path = os.path.relpath(os.path.join(folder, name), ROOT)
            if not name.endswith((".c", ".h")) or path.startswith(PASSED_ON):
                continue
            at = 0
            for number, line in enumerate(source(path).splitlines(keepends=True), 1):
                end = at + len(line)
                known = any(begin < end and stop > at for begin, stop in spans.get(path, []))
                passing = re.match(r"(static )?grv_status |\s*/?\*", line)  # a head, or a comment
                if SYNC.search(line) and not passing and not known:
                    print(f"{path}:{number}: a step that nothing here takes out: {line.strip()}")
                    missed += 1
                at = end
    if missed:
        sys.exit(1)


def copy_tree(to):
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True,
    ).stdout.decode()  # fmt: skip
    for path in filter(None, listed.split("\0")):
        if os.path.isfile(os.path.join(ROOT, path)):
            there = os.path.join(to, path)
            if not os.path.exists(there) or not filecmp.cmp(os.path.join(ROOT, path), there, False):
                os.makedirs(os.path.dirname(there), exist_ok=True)
                shutil.copy(os.path.join(ROOT, path), there)


class Tree:
    """A copy of the tree that is built again and again."""

    def __init__(self, directory, seed):
        self.directory, self.build, self.seed = directory, os.path.join(directory, "build"), seed
        copy_tree(directory)
        if not os.path.exists(os.path.join(self.build, "build.ninja")):
            command = ["meson", "setup", self.build, directory]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def make(self):
        command = ["ninja", "--quiet", "-C", self.build, "graviton"]
        command += ["tests/fault/record.so", "tests/fault/fault-spoil"]
        done = subprocess.run(command, capture_output=True, text=True)
        return None if done.returncode == 0 else done.stdout[-2000:]

    def prove(self, scenario):
        """(whether all held, the proof's words)."""
        command = [
            os.path.join(self.directory, "tests", "fault", "power.py"),
            os.path.join(self.build, "graviton"),
            os.path.join(self.build, "tests", "fault", "record.so"),
            "--spoil", os.path.join(self.build, "tests", "fault", "fault-spoil"),
            "--seed", str(self.seed),
            "--only", scenario,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode == 0, done.stdout + done.stderr

    def mutate(self, mutation):
        """(word for the table, what was seen)."""
        _, path, text, other, scenario, *more = mutation
        where = os.path.join(self.directory, path)
        whole = source(path)
        mutated = whole.replace(text, other)
        if more:
            mutated = mutated.replace(*more)
        with open(where, "w", encoding="utf-8") as file:
            file.write(mutated)
        try:
            broken = self.make()
            if broken:
                return "does not build", broken
            held, words = self.prove(scenario)
        finally:
            with open(where, "w", encoding="utf-8") as file:
                file.write(whole)
        if held:
            return "NOT NOTICED", ""
        if "power cut at" not in words:
            return "broke too early", words
        lines = [line[2:] for line in words.splitlines() if line.startswith("# ")]
        return "noticed", next(line for line in lines if not line.startswith("seed "))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="only mutations whose name holds this")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tree", help="keep the copy of the tree there")
    parser.add_argument("--list", action="store_true", help="what is taken out, and what is kept")
    arguments = parser.parse_args()
    check_complete()
    if arguments.list:
        for mutation in MUTATIONS:
            print(f"taken out  {mutation[1]}: {mutation[0]}")
        for path, text, reason in KEPT:
            print(f"kept       {path}: {text}: {reason}")
        return 0
    chosen = [m for m in MUTATIONS if not arguments.only or arguments.only in m[0]]
    if not chosen:
        sys.exit("no mutation of that name")
    directory = arguments.tree or tempfile.mkdtemp(prefix="graviton-mutate-")
    wrong = 0
    try:
        tree = Tree(directory, arguments.seed)
        broken = tree.make()
        if broken:
            sys.exit(f"the tree as it is does not build: {broken}")
        for scenario in sorted({m[4] for m in chosen}):
            held, words = tree.prove(scenario)
            if not held:
                sys.exit(f"the tree as it is fails already:\n{words}")
        print("the tree as it is: nothing is lost\n")
        print(f"{'taken out':<60} {'the proof':<16} {'s':>5}  what it saw", flush=True)
        for mutation in chosen:
            begun = time.monotonic()
            word, seen = tree.mutate(mutation)
            seconds = time.monotonic() - begun
            wrong += word != "noticed"
            line = seen if word != "noticed" else re.sub(r"(?<!\w)/\S*/(cut-\w+/)?", "", seen)[:100]
            print(f"{mutation[0]:<60} {word:<16} {seconds:5.0f}  {line}", flush=True)
    finally:
        if not arguments.tree:
            shutil.rmtree(directory, ignore_errors=True)
    print(f"\n{len(chosen)} mutations, {wrong} not noticed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
