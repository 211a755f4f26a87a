#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""token: what it prints, what it adds to a file, and what it refuses."""

import hashlib
import os
import re

import harness
from harness import has, same

TOKEN = re.compile(r"grv_[A-Za-z0-9_-]{43}")


def test_a_token_and_its_line(case):
    result = case.run("token", "ci", "--scope", "write,read")
    token = result.rows()[0][0]
    assert TOKEN.fullmatch(token), token
    digest = hashlib.sha256(token.encode()).hexdigest()
    same(result.err.split("\n")[-2], f"ci read,write sha256:{digest}")
    assert token not in result.err
    again = case.run("token", "ci", "--scope", "read", "--json")
    row = again.objects()[0]
    assert row["token"] != token
    digest = hashlib.sha256(row["token"].encode()).hexdigest()
    same(row["line"], f"ci read sha256:{digest}")
    same(again.err, "")
    same(os.listdir(case.directory), [])


def test_append(case):
    tokens = []
    for name in ("a", "b"):
        result = case.run("token", name, "--scope", "admin", "--append", "sub/tokens", expect=3)
        has(result.err, "tokens")
        same(result.out, b"")
        result = case.run("token", name, "--scope", "admin", "--append", "tokens")
        tokens.append(result.rows()[0][0])
        assert "sha256" not in result.err
    lines = case.read("tokens").decode().split("\n")
    for name, token, line in zip("ab", tokens, lines, strict=False):
        same(line, f"{name} admin sha256:{hashlib.sha256(token.encode()).hexdigest()}")
    same(lines[2:], [""])
    # A last line without an end is not continued.
    case.write("tokens", b"# nobody")
    token = case.run("token", "c", "--scope", "read", "--append", "tokens").rows()[0][0]
    digest = hashlib.sha256(token.encode()).hexdigest()
    same(case.read("tokens").decode(), f"# nobody\nc read sha256:{digest}\n")


def test_a_file_that_is_wrong_is_left_alone(case):
    case.write("tokens", b"a read\n")
    result = case.run("token", "c", "--scope", "read", "--append", "tokens", expect=2)
    has(result.err, "tokens, line 1: a hash is")
    same((result.out, case.read("tokens")), (b"", b"a read\n"))


def test_wrong_words(case):
    for words in (
        ["token"], ["token", "ci"], ["token", "ci", "--scope", ""],
        ["token", "", "--scope", "read"],
        ["token", "ci", "--scope", "read,"], ["token", "ci", "--scope", "all"],
        ["token", "a b", "--scope", "read"], ["token", "n" * 65, "--scope", "read"],
        ["token", "ci", "di", "--scope", "read"],
    ):  # fmt: skip
        same(case.run(*words, expect=2).out, b"")


if __name__ == "__main__":
    harness.main()
