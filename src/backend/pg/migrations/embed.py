#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the C file that holds the migrations: embed.py OUTPUT.c NNNN_NAME.sql..."""

import hashlib
import os
import re
import sys


def array(data):
    """Bytes rather than a string literal: compilers need not take one longer than 4095."""
    numbers = [str(byte) for byte in data] + ["0"]
    lines = [", ".join(numbers[at : at + 20]) for at in range(0, len(numbers), 20)]
    return ",\n    ".join(lines)


def main():
    output, paths = sys.argv[1], sys.argv[2:]
    texts, rows = [], []
    for version, path in enumerate(paths, 1):
        match = re.fullmatch(r"(\d{4})_([a-z0-9_]+)\.sql", os.path.basename(path))
        if not match or int(match.group(1)) != version:
            sys.exit(f"{path}: want {version:04}_NAME.sql: versions have no gap")
        with open(path, "rb") as file:
            data = file.read()
        if not data.isascii() or 0 in data:
            sys.exit(f"{path}: only ASCII may be embedded")
        digest = hashlib.sha256(data).hexdigest()
        texts.append(f"static const char script_{version}[] = {{\n    {array(data)}}};\n")
        rows.append(f'    {{{version}, "{match.group(2)}", script_{version}, "{digest}"}},\n')
    with open(output, "w", encoding="ascii") as file:
        file.write('#include "backend/pg/migrations.h"\n\n' + "\n".join(texts))
        file.write("\nconst grv_pg_migration grv_pg_migrations[] = {\n" + "".join(rows) + "};\n")
        file.write(f"const size_t grv_pg_migration_count = {len(paths)};\n")


if __name__ == "__main__":
    main()
