# SPDX-License-Identifier: Apache-2.0
"""Manifests as docs/format.md has them, built from that page alone, and their rows in SQL."""

import copy
import os
import struct
import uuid

from harness import hexed

BLAKE3, SHA256 = 1, 2
NAMES = {BLAKE3: "blake3", SHA256: "sha256"}
CDC_64K = bytes([1, 1, 0, 0]) + struct.pack("<I", 65536)
FIXED_1M = bytes([2, 1, 0, 0]) + struct.pack("<I", 1 << 20)
DELIMITER = bytes([3, 1, 3, 0]) + struct.pack("<I", 4096) + b"\x61\x00\xff"


def table(entries):
    return b"".join(struct.pack("<Q", offset) + digest for offset, digest in entries)


class Page:
    """Fields as the row has them; bytes() makes the stored form of any of them, true or not."""

    def __init__(self, manifest, level, number, first, size, base, entries):
        self.manifest, self.level, self.number = manifest, level, number
        self.first, self.size, self.base = first, size, base
        self.hash, self.entries = manifest.block_hash, entries
        self.magic, self.version, self.reserved = b"GRVP", 1, 0
        self.id = manifest.id

    def bytes(self):
        head = struct.pack(
            "<4sHBBII16sQQQQ", self.magic, self.version, self.level, self.hash,
            len(self.entries), self.reserved, self.id.bytes, self.number, self.first, self.size,
            self.base,
        )  # fmt: skip
        return head + table(self.entries)

    def row(self, **other):
        """The row's columns as literals; `other` replaces some."""
        columns = {
            "manifest_id": f"'{self.id}'",
            "level": self.level,
            "page_number": self.number,
            "first_byte": self.first,
            "byte_length": self.size,
            "first_entry": self.base,
            "entry_count": len(self.entries),
            "bytes": hexed(self.bytes()),
        }
        return dict(columns, **other)

    def sql(self, **other):
        return insert("graviton.blob_manifest_page", self.row(**other))


class Manifest:
    """A blob's manifest. sizes: of its blocks; per_page, per_index: how many a page holds;
    without per_page all are in the root."""

    sequences = 0

    def __init__(self, sizes, per_page=None, per_index=None, block_hash=BLAKE3, blob_hash=BLAKE3,
                 chunker=CDC_64K):  # fmt: skip
        Manifest.sequences += 1
        self.id = uuid.UUID(bytes=os.urandom(16))
        self.block_hash, self.blob_hash, self.chunker = block_hash, blob_hash, chunker
        self.blocks = [(os.urandom(32), size) for size in sizes]
        self.digest, self.size = os.urandom(32), sum(sizes)
        self.sequence, self.created_ns = Manifest.sequences, 1700000000123456000
        self.block_count, self.required, self.optional = len(sizes), 0, 0
        self.magic, self.version, self.reserved = b"GRVM", 1, b"\0\0\0"
        self.depth, self.pages = 0, []
        self.entries = self.ends(self.blocks)
        if per_page:
            self.fill(per_page)
        if per_index:
            self.fill_indexes(per_index)

    @staticmethod
    def ends(blocks):
        entries, end = [], 0
        for digest, size in blocks:
            end += size
            entries.append((end, digest))
        return entries

    def fill(self, per_page):
        self.depth, first = 1, 0
        for at in range(0, len(self.blocks), per_page):
            part = self.blocks[at : at + per_page]
            size = sum(s for _, s in part)
            number = at // per_page
            self.pages.append(Page(self, 0, number, first, size, at, self.ends(part)))
            first += size
        self.entries = [(page.first, os.urandom(32)) for page in self.pages]

    def fill_indexes(self, per_index):
        self.depth, leaves = 2, list(self.pages)
        indexes = []
        for at in range(0, len(leaves), per_index):
            part = leaves[at : at + per_index]
            size = sum(page.size for page in part)
            entries = self.entries[at : at + per_index]
            number = at // per_index
            indexes.append(Page(self, 1, number, part[0].first, size, at, entries))
        self.pages += indexes
        self.entries = [(page.first, os.urandom(32)) for page in indexes]

    def root(self):
        return (
            struct.pack("<4sHBBII16s", self.magic, self.version, self.depth, self.block_hash,
                        self.required, self.optional, self.id.bytes)
            + bytes([self.blob_hash]) + self.digest + struct.pack(">Q", self.size) + self.reserved
            + struct.pack("<IQQQ", len(self.entries), self.block_count, self.created_ns,
                          self.sequence)
            + self.chunker + table(self.entries) + os.urandom(8)
        )  # fmt: skip

    def row(self, **other):
        columns = {
            "alg": f"'{NAMES[self.blob_hash]}'",
            "hash_bytes": hexed(self.digest),
            "byte_length": self.size,
            "manifest_id": f"'{self.id}'",
            "sequence": self.sequence,
            "depth": self.depth,
            "block_count": self.block_count,
            "root": hexed(self.root()),
        }
        return dict(columns, **other)

    def sql(self, **other):
        return insert("graviton.blob", self.row(**other))

    def key(self):
        """The blob's key as arguments of the functions."""
        return f"'{NAMES[self.blob_hash]}', {hexed(self.digest)}, {self.size}"

    def changed(self, **fields):
        """A copy in which some fields have other values."""
        other = copy.copy(self)
        vars(other).update(fields)
        return other

    def put_pages(self, session):
        for page in self.pages:
            session.run(page.sql())

    def put(self, session):
        self.put_pages(session)
        session.run(self.sql())


def insert(name, columns):
    values = ", ".join(str(value) for value in columns.values())
    return f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({values})"
