#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The program among others: signals, closed and full descriptors, a store in use, the terminal."""

import fcntl
import os
import pty
import signal
import subprocess
import threading
import time

import harness
from harness import has, noise, same, wait_until


def lock_text(case):
    """What the store's lock file says: who has it open."""
    try:
        return case.read("graviton-data/meta/lock")
    except FileNotFoundError:
        return b""


def blocked_put(case, *flags, **how):
    """A put that has the store open and waits for more input."""
    process = case.start(
        "put", "-", *flags, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        **how,
    )  # fmt: skip
    process.stdin.write(noise(300000))
    process.stdin.flush()
    wait_until(lambda: str(process.pid).encode() in lock_text(case))
    return process


def test_signals(case):
    kept = case.put(b"kept")
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)):
        process = blocked_put(case)
        process.send_signal(number)
        process.wait(timeout=60)  # before its input ends, which would be success
        out, _ = process.communicate()
        same((process.returncode, out), (code, b""))
        same([row[0] for row in case.run("ls").rows()], [kept])
    process = blocked_put(case)
    process.kill()
    process.communicate()
    same(case.run("get", kept).out, b"kept")


def test_signal_while_writing(case):
    blob = case.put(noise(8 << 20))
    process = case.start("get", blob, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.read(1000)
    time.sleep(0.2)
    process.terminate()
    process.wait(timeout=60)
    same(process.returncode, 143)
    process.stdout.close()
    process.stderr.close()


def test_in_use(case):
    process = blocked_put(case)
    result = case.run("stats", "--json", expect=5)
    same(result.error()["status"], "unavailable")
    has(result.error()["message"], str(process.pid))
    case.run("put", "-", stdin=b"x", expect=5)
    out, err = process.communicate(timeout=60)
    same((process.returncode, err), (0, b""))
    same(len(case.run("ls").rows()), 1)


def test_closed_descriptors(case):
    case.write("f", b"data")

    def close(*descriptors):
        return lambda: [os.close(fd) for fd in descriptors]

    case.run("put", "f", preexec_fn=close(0))
    has(case.run("put", "-", preexec_fn=close(0), expect=1).err, "standard input")
    has(case.run("ls", preexec_fn=close(1), expect=1).err, "standard output")
    same(len(case.run("put", "f", preexec_fn=close(2)).rows()), 1)
    case.write("g", noise(200000))
    case.run("put", "g", preexec_fn=close(0, 1, 2), expect=1)
    same(len(case.run("ls").rows()), 2)
    same(len(case.run("verify", "--all").rows()), 2)


def test_full_stdout_keeps_what_was_put(case):
    case.write("f", b"data")
    with open("/dev/full", "wb") as full:
        has(case.run("put", "f", stdout=full, expect=6).err, "No space left")
    same(len(case.run("ls").rows()), 1)


def test_broken_pipe_ends_a_put(case):
    for number in range(2000 if not harness.BOUNDED else 500):
        case.write(f"d/{number:05}", b"%d" % number)
    reader, writer = os.pipe()
    # All that is said must not fit into it, or the put may come to its end.
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    process = case.start("put", "-r", "d", stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert os.read(reader, 100), "nothing was put"
    os.close(reader)
    same(process.wait(timeout=100), 141)
    process.stderr.close()
    case.run("verify", "--all", "-q")


def on_terminal(case, *arguments):
    """What a slow put shows on a terminal: its stderr."""
    master, slave = pty.openpty()
    process = case.start(*arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=slave)
    os.close(slave)
    shown = []

    def collect():
        while True:
            try:
                data = os.read(master, 4096)
            except OSError:
                return
            if not data:
                return
            shown.append(data)

    thread = threading.Thread(target=collect)
    thread.start()
    for number in range(4):
        process.stdin.write(noise(100000, number))
        process.stdin.flush()
        time.sleep(0.3)
    process.communicate(timeout=60)
    thread.join()
    os.close(master)
    same(process.returncode, 0)
    return b"".join(shown).decode()


def test_progress(case):
    shown = on_terminal(case, "put", "-")
    has(shown, "KiB", "/s")
    assert shown.endswith("\r"), f"the line stays: {shown!r}"
    same(on_terminal(case, "put", "-q", "-"), "")


harness.main()
