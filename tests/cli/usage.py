#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The command line's form: options, help, manual, completion, errors."""

import os
import re
import subprocess

import harness
from harness import has, same

COMMANDS = [
    "put", "get", "stat", "ls", "manifest", "rm", "verify", "stats", "gc", "scrub", "backup",
    "cp", "object", "migrate", "serve", "token", "help", "version", "completion",
]  # fmt: skip
MANUAL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/graviton.1")


def options_of(case, command):
    text = case.run(command, "--help").out.decode()
    return set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", text, re.MULTILINE))


def test_wrong_words(case):
    for arguments, hint in (
        ([], "graviton --help"),
        (["frobnicate"], "graviton --help"),
        (["--frob", "put"], "graviton --help"),
        (["put", "--frob", "x"], "graviton put --help"),
        (["put", "-x", "f"], "graviton put --help"),
        (["stat", "--range", "1-2", "x"], "graviton stat --help"),
        (["put"], "graviton put --help"),
        (["get"], "graviton get --help"),
        (["get", "a", "b"], "graviton get --help"),
        (["ls", "x"], "graviton ls --help"),
        (["verify"], "graviton verify --help"),
        (["verify", "--all", "x"], "graviton verify --help"),
        (["cp", "--to", "x"], "graviton cp --help"),
        (["cp", "--to", "x", "--all", "0a1b2c3d"], "graviton cp --help"),
        (["cp", "--all"], "graviton cp --help"),
        (["help", "nothing"], "graviton --help"),
        (["completion", "fish"], "bash"),
        (["get", "x", "--range"], "--range needs a value"),
        (["get", "x", "-o"], "--output needs a value"),
        (["ls", "--json=yes"], "--json takes no value"),
        (["ls", "--limit", "-1"], "--limit"),
        (["ls", "--limit", "99999999999999999999999"], "--limit"),
    ):
        result = case.run(*arguments, expect=2)
        has(result.err, "graviton: ", hint)
        same((result.out, result.err.count("\n")), (b"", 1))
        error = case.run("--json", *arguments, expect=2).error()
        same(error["status"], "invalid_argument")
        same("graviton: " + error["message"] + "\n", result.err)
    same(os.listdir(case.directory), [])


def test_option_forms(case):
    case.write("-r", b"1")
    rows = case.run("put", "--store=s", "--", "-r").rows()
    same([row[1] for row in rows], ["-r"])
    case.run("--store", "s", "-q", "ls", "--json")
    case.run("ls", "-lq", "--store", "s")
    blob = rows[0][0]
    same(case.run("get", "--store", "s", blob, "-oout").out, b"")
    same(case.read("out"), b"1")
    same(case.run("get", blob, "--range", "-1", "--store", "s").out, b"1")


def test_control_characters_in_errors(case):
    result = case.run("put", "a\x1b[2J\nb", expect=3)
    same(result.err.count("\n"), 1)
    has(result.err, "a\\x1b[2J\\nb")
    has(case.run("put", "--json", b"a\xff\n", expect=3).error()["message"], "a\ufffd\n")


def test_help(case):
    overview = case.run("--help").out.decode()
    same(case.run("help").out.decode(), overview)
    for command in COMMANDS:
        has(overview, f"  {command} ")
        text = case.run(command, "--help").out.decode()
        has(text, f"usage: graviton {command}")
        same(case.run("help", command).out.decode(), text)
        if command != "version":
            has(text, "examples:")
        for absent in ("packs",):
            assert absent not in text + overview, f"{absent} is promised"
    for command in ("flush", "repair"):
        same(case.run(command, "--json", expect=1).error()["status"], "unsupported")
    version = case.run("--version").out.decode()
    assert re.fullmatch(r"graviton \d+\.\d+\.\d+\n", version), version
    same(case.run("version").out.decode(), version)
    has(version, case.run("version", "--json").objects()[0]["version"])


def test_manual(case):
    with open(MANUAL, encoding="utf-8") as file:
        manual = file.read().replace("\\-", "-")
    for command in COMMANDS:
        has(manual, f".SS {command}")
        for option in options_of(case, command):
            has(manual, option)
    for variable in ("GRAVITON_STORE", "GRAVITON_BLOCKS", "GRAVITON_META", "GRAVITON_FS_ROOT",
                     "GRAVITON_ROOTS"):
        has(manual, variable)


def complete(case, *words):
    script = (
        'source <("$1" completion bash); shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1));'
        '_graviton; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    result = subprocess.run(
        ["bash", "-c", script, "bash", case.program, "graviton", *words],
        capture_output=True, cwd=case.directory, env=case.env, check=True,
    )  # fmt: skip
    same(result.stderr, b"")
    return result.stdout.decode().split()


def test_completion(case):
    same(sorted(complete(case, "")), sorted(COMMANDS))
    same(complete(case, "man"), ["manifest"])
    for command in COMMANDS:
        same(set(complete(case, command, "--")), options_of(case, command))
    same(complete(case, "--store", "x", "ve"), ["verify", "version"])
    same(complete(case, "put", "--hash", "s"), ["sha256"])
    case.write("a file", b"")
    same(complete(case, "put", "a"), ["a", "file"])
    os.mkdir(case.path("dir"))
    same(complete(case, "ls", "--store", "d"), ["dir"])
    same(complete(case, "cp", "--to", "d"), ["dir"])
    same(complete(case, "object", "--root", "a=b", ""), ["ls", "head", "get", "put", "rm", "cp"])
    same(complete(case, "object", "put", "fs://m/x", "a"), ["a", "file"])


harness.main()
