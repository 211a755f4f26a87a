# SPDX-License-Identifier: Apache-2.0
"""What the services of the tests share: each runs in a keeper, a process of its own that starts the
service's daemons, obeys lines on its standard input and answers each by a line of JSON. At the end
of that input, which comes also when the test dies however it may, the keeper stops the daemons and
removes their directory; where the keeper itself is killed the daemons die with it."""

import ctypes
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

PR_SET_PDEATHSIG = 1
MEMORY = "/dev/shm"
MEMORY_MIN = 1 << 30
LOG_END = 2000  # bytes


class Missing(Exception):
    """The packages are not installed."""


def memory():
    """A directory in memory, where nobody has asked for another and there is room: what the tests
    prove outlives processes, not the machine, and on a disk they would wait for syncs."""
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK):
        return None
    return MEMORY if shutil.disk_usage(MEMORY).free >= MEMORY_MIN else None


def scratch(prefix, longest, usable=lambda parent: True):
    """A new directory with a short name, since unix sockets will be in it."""
    parent = memory() or tempfile.gettempdir()
    if not usable(parent) or len(parent) > longest:
        parent = "/tmp"
    return tempfile.mkdtemp(prefix=prefix, dir=parent)


def free_port(host="127.0.0.1"):
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def dies_with_parent(number):
    """For preexec_fn, which runs when the child has become someone else: that would undo it."""
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)


def answer(facts):
    try:
        print(json.dumps(facts), flush=True)
    except OSError:
        pass  # nobody listens any more; the end of the input comes next


def abandoned():
    """True in a keeper that nobody can tell anything any more, for services that start slowly."""
    poll = select.poll()
    poll.register(sys.stdin, 0)
    return any(events & select.POLLHUP for _, events in poll.poll(0))


def keep(service):
    """The keeper's whole life. A service has init(), obey(words), facts() and remove(); what it
    cannot do it raises as OSError or RuntimeError."""
    os.setsid()  # signals to the test's group are not for the one who cleans up
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    try:
        try:
            service.init()
            answer(service.facts())
        except (OSError, RuntimeError) as error:
            answer({"error": str(error)})
            return 1
        for line in sys.stdin:
            try:
                service.obey(line.split())
                answer(service.facts())
            except (OSError, RuntimeError) as error:
                answer({"error": str(error)})
    finally:
        service.remove()
    return 0


class Kept:
    """A service in a keeper, for `with`. Its facts are attributes."""

    def __init__(self, script, settings):
        command = [sys.executable, os.path.abspath(script), "serve"]
        for name, value in settings.items():
            command += ["--set", f"{name}={value}"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.facts = {}
        try:
            self.hear()
        except BaseException:
            self.close()
            raise

    def __getattr__(self, name):
        try:
            return self.__dict__["facts"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def hear(self):
        line = self.process.stdout.readline()
        facts = json.loads(line) if line else {"error": "the service's keeper has died"}
        if "error" in facts:
            raise RuntimeError(facts["error"])
        self.facts = facts

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        self.hear()

    def tell_end(self):
        """Says on stderr how the daemons' logs end, for whoever looks at a test that failed."""
        folder = os.path.join(self.facts["directory"], "log")
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as log:
                lines = log.read()[-LOG_END:].splitlines()[1:]
            print(f"--- the end of {name}", *lines, sep="\n", file=sys.stderr, flush=True)

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        if "directory" in self.facts:
            shutil.rmtree(self.facts["directory"], ignore_errors=True)


def run(start, optional, command):
    """Runs a command beside the service that start() gives; the exit code. Where its packages are
    missing all is skipped, in TAP, unless the command is to run all the same."""

    def give_up(number, _):
        sys.exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, give_up)
    try:
        service = start()
    except Missing as missing:
        if optional:
            name = os.path.basename(sys.argv[0])
            print(f"{name}: {missing}", file=sys.stderr, flush=True)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            os.execvp(command[0], command)
        print(f"1..0 # SKIP {missing}")
        return 0
    except RuntimeError as error:
        print(f"Bail out! {error}")
        return 1
    with service:
        child = subprocess.Popen(
            command,
            env=dict(os.environ, **service.environment()),
            preexec_fn=dies_with_parent(signal.SIGTERM),
        )
        try:
            code = child.wait()
            if code:
                service.tell_end()
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait()
    return 128 - code if code < 0 else code


def arguments(usage):
    """(verb, optional, settings, command) of a service's command line; else the program ends."""
    words = sys.argv[1:]
    verb = words.pop(0) if words else ""
    settings = {}
    optional = verb == "run" and words[:1] == ["--optional"]
    if optional:
        words.pop(0)
    while len(words) >= 2 and words[0] == "--set" and "=" in words[1]:
        name, value = words[1].split("=", 1)
        settings[name] = value
        del words[:2]
    if words[:1] == ["--"]:
        words.pop(0)
    if (verb == "serve" and not words) or (verb == "run" and words):
        return verb, optional, settings, words
    return sys.exit(usage)
