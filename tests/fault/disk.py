# SPDX-License-Identifier: Apache-2.0
"""A file system in memory that knows what a power loss may take back.

Disk replays what tests/fault/record.c recorded. It keeps apart what is durable from what is only
pending, and makes the trees that may be there after a crash. docs/decisions/power-loss.md says why
these are its rules:

- A file's bytes and size are durable once the file was synced after they were written.
- A name (made, linked, removed) is durable once its directory was synced after that. A rename
  within a directory is one change of it; one into another directory is two, one in each.
- A sync of the whole file system makes all of it durable.
- Of what is pending any part may be there, in any order: names one by one, a rename within a
  directory all or nothing, a write in pieces, its size without its bytes (which then are zeros).
- Names in an ordered directory come in the order in which they were changed: if one is there, then
  so are all before it. RocksDB needs that of its directory.
"""

import hashlib
import os
import random

ROOT = 0
PIECES = (512, 4096)


class Record:
    """One recorded call."""

    __slots__ = ("kind", "offset", "path", "second", "data")

    def __init__(self, kind, offset, path, second, data):
        self.kind, self.offset = kind, offset
        self.path, self.second, self.data = path, second, data

    def __str__(self):
        text = f"{self.kind} {self.path}"
        if self.second:
            text += f" -> {self.second}"
        if self.kind == "stdout":
            return f"stdout {self.data!r}"
        if self.kind in ("write", "truncate", "extend"):
            text += f" at {self.offset}, {len(self.data)} bytes"
        return text


def read_log(path):
    """The records of a log, in order."""
    with open(path, "rb") as file:
        text = file.read()
    records, at = [], 0
    while at < len(text):
        end = text.index(b"\n", at)
        kind, *numbers = text[at:end].decode().split(" ")
        offset, size, second_size, data_size = map(int, numbers)
        at = end + 1
        path = text[at : at + size].decode()
        at += size
        second = text[at : at + second_size].decode()
        at += second_size
        records.append(Record(kind, offset, path, second, text[at : at + data_size]))
        at += data_size
    return records


class Content:
    """Bytes of a file with their digest, which is worked out once."""

    __slots__ = ("data", "_digest")

    def __init__(self, data):
        self.data, self._digest = data, None

    def digest(self):
        if self._digest is None:
            self._digest = hashlib.blake2b(self.data, digest_size=16).digest()
        return self._digest


EMPTY = Content(b"")


class File:
    def __init__(self):
        self.durable = EMPTY
        self.pending = []  # (kind, offset, data)

    def sync(self):
        if self.pending:
            self.durable = self.content(lambda *_: "all")
            self.pending = []

    def content(self, choose):
        """The bytes, with those of the pending calls that `choose` wants."""
        if not self.pending:
            return self.durable
        out = bytearray(self.durable.data)
        for call in self.pending:
            apply(out, call, choose(self, call))
        return EMPTY if not out else Content(bytes(out))


def resize(out, size):
    if size < len(out):
        del out[size:]
    else:
        out.extend(bytes(size - len(out)))


def apply(out, call, choice):
    """One pending call on a file's bytes: "none" of it, "all", its "size", or some pieces of it
    (a random generator chooses them)."""
    kind, offset, data = call
    if choice == "none":
        return
    if kind == "truncate":
        resize(out, offset)
        return
    end = offset if kind == "extend" else offset + len(data)
    if choice in ("all", "size"):
        resize(out, max(end, len(out)))
        if choice == "all" and kind == "write":
            out[offset:end] = data
        return
    piece = choice.choice(PIECES)
    at = offset
    while at < end:
        until = min(end, at - at % piece + piece)
        if choice.random() < 0.5:
            resize(out, max(until, len(out)))
            if kind == "write":
                out[at:until] = data[at - offset : until - offset]
        at = until


class Name:
    """A pending change of names: what each slot (directory, name) is to hold, None for nothing."""

    __slots__ = ("slots", "directory", "durable")

    def __init__(self, slots, directory):
        self.slots, self.directory, self.durable = slots, directory, False


class Disk:
    def __init__(self, ordered=()):
        self.ordered = ordered  # paths of directories whose names come in order
        self.files = {ROOT: None}  # number -> File, or None for a directory
        self.base = {}  # slot -> number: the durable names
        self.names = []  # changes since, in order
        self.now = {}  # slot -> number: as a running process sees it
        self.unsynced = set()  # files with pending calls

    # ---- replaying ----

    def find(self, path):
        """The number of what a process sees at a path; None where there is nothing."""
        number = ROOT
        for name in filter(None, path.split("/")):
            number = self.now.get((number, name))
        return number

    def _find(self, path):
        number = self.find(path)
        if number is None:
            raise ValueError(f"not there: {path}")
        return number

    def _slot(self, path):
        folder, name = os.path.split(path)
        return (self._find(folder), name)

    def _change(self, slots, directory):
        for slot, number in slots:
            if number is None:
                del self.now[slot]
            else:
                self.now[slot] = number
        self.names.append(Name(slots, directory))

    def replay(self, record):
        kind = record.kind
        if kind in ("create", "mkdir"):
            slot = self._slot(record.path)
            if slot in self.now:
                raise ValueError(f"made twice: {record.path}")
            number = len(self.files)
            self.files[number] = File() if kind == "create" else None
            self._change([(slot, number)], slot[0])
        elif kind in ("write", "truncate", "extend"):
            number = self._find(record.path)
            self.files[number].pending.append((kind, record.offset, record.data))
            self.unsynced.add(number)
        elif kind == "rename":
            source, target = self._slot(record.path), self._slot(record.second)
            number = self.now[source]
            if self.now.get(target) == number:  # two names of one file: a rename does nothing
                return
            if source[0] == target[0]:
                self._change([(source, None), (target, number)], target[0])
            else:
                self._change([(target, number)], target[0])
                self._change([(source, None)], source[0])
        elif kind == "link":
            slot = self._slot(record.second)
            self._change([(slot, self._find(record.path))], slot[0])
        elif kind == "unlink":
            slot = self._slot(record.path)
            self._change([(slot, None)], slot[0])
        elif kind == "sync":
            number = self._find(record.path)
            self.files[number].sync()
            self.unsynced.discard(number)
        elif kind == "syncdir":
            number = self._find(record.path)
            for name in self.names:
                name.durable = name.durable or name.directory == number
            self._fold()
        elif kind == "syncall":
            for number in self.unsynced:
                self.files[number].sync()
            self.unsynced.clear()
            self.base, self.names = dict(self.now), []
        elif kind != "stdout":
            raise ValueError(f"unknown record {kind}")

    def _fold(self):
        """Moves durable changes into the base where no pending one before them is about the same
        slots."""
        kept, held = [], set()
        for name in self.names:
            slots = {slot for slot, _ in name.slots}
            if name.durable and not slots & held:
                for slot, number in name.slots:
                    if number is None:
                        self.base.pop(slot, None)
                    else:
                        self.base[slot] = number
            else:
                kept.append(name)
                held |= slots
        self.names = kept

    # ---- crashing ----

    def pending(self):
        return bool(self.unsynced or self.names)

    def tree(self, keep_name, choose):
        """{path: Content, None for a directory} after a crash that keeps the names and the calls
        on files that the functions choose."""
        names = dict(self.base)
        for name in self.names:
            if name.durable or keep_name(name):
                for slot, number in name.slots:
                    if number is None:
                        names.pop(slot, None)
                    else:
                        names[slot] = number
        inside = {}
        for (folder, name), number in names.items():
            inside.setdefault(folder, []).append((name, number))
        found, chosen, todo = {}, {}, [("", ROOT)]
        while todo:
            path, folder = todo.pop()
            for name, number in inside.get(folder, ()):
                here = f"{path}/{name}" if path else name
                file = self.files[number]
                if file is None:
                    found[here] = None
                    todo.append((here, number))
                else:
                    if number not in chosen:
                        chosen[number] = file.content(choose)
                    found[here] = chosen[number]
        return found

    def whole(self):
        """What a process sees, and a crash leaves that loses nothing."""
        return self.tree(lambda _: True, lambda *_: "all")


def crashes(disk, rng, count, extremes=True):
    """(word, tree) of crashes at this moment: the worst, other extremes, then `count` at random."""
    yield "all that was not synced is lost", disk.tree(lambda _: False, lambda *_: "none")
    if not disk.pending():
        return
    if extremes:
        yield "nothing is lost", disk.whole()
        yield "names are kept, bytes lost", disk.tree(lambda _: True, lambda *_: "none")
        yield "names and sizes are kept, bytes lost", disk.tree(lambda _: True, lambda *_: "size")
        yield "bytes are kept, names lost", disk.tree(lambda _: False, lambda *_: "all")
    for _ in range(count):
        seed = rng.getrandbits(64)
        yield f"any part is lost ({seed:016x})", random_tree(disk, seed)


def random_tree(disk, seed):
    """A crash that keeps each thing with a likelihood of its own, names and bytes apart."""
    rng = random.Random(seed)
    names, bytes_kept = rng.random(), rng.random()
    ended = set()  # ordered directories of which no later name is kept
    ordered = {disk.find(path) for path in disk.ordered}

    def keep_name(name):
        kept = name.directory not in ended and rng.random() < names
        if not kept and name.directory in ordered:
            ended.add(name.directory)
        return kept

    def choose(_, call):
        if rng.random() < bytes_kept:
            return "all"
        return rng.choice(["none", "size", rng]) if call[0] == "write" else "none"

    return disk.tree(keep_name, choose)


def tree_digest(tree):
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(tree):
        content = tree[path]
        digest.update(path.encode() + b"\0" + (b"d" if content is None else content.digest()))
    return digest.digest()


def tree_write(tree, directory):
    """Makes the tree under an empty directory."""
    for path in sorted(tree):
        content = tree[path]
        where = os.path.join(directory, path)
        if content is None:
            os.mkdir(where)
        else:
            fd = os.open(where, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            try:
                if os.write(fd, content.data) != len(content.data):
                    raise OSError(f"no room for {where}")
            finally:
                os.close(fd)


def tree_read(directory):
    """The tree that is under a directory."""
    found = {}
    for folder, folders, names in os.walk(directory):
        for name in folders:
            found[os.path.relpath(os.path.join(folder, name), directory)] = None
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, directory)] = Content(file.read())
    return found


def tree_difference(a, b):
    """The first path that is not the same in both, or None."""
    for path in sorted(set(a) | set(b)):
        if path not in a or path not in b or (a[path] is None) != (b[path] is None):
            return path
        if a[path] is not None and a[path].data != b[path].data:
            return path
    return None
