#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A Ceph RADOS Gateway (S3) of a test's own, from the system's packages, gone when the test is: one
monitor, one OSD, one gateway, on loopback, in a temporary directory.

  ceph.py run [--optional] [--set NAME=VALUE]... [--] COMMAND [ARGUMENT]...
      runs COMMAND beside a fresh gateway and exits as it does. COMMAND finds in its environment
        GRAVITON_TEST_S3         http://127.0.0.1:PORT
        AWS_ENDPOINT_URL         the same, for other clients
        AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION
      and makes its own buckets. Without the packages it prints a TAP line that skips all, and exits
      0; with --optional it runs COMMAND all the same, without those variables: COMMAND skips what
      needs a gateway.
  ceph.py serve [--set NAME=VALUE]...
      what the above is made of (keeper.py): starts a gateway and obeys "stop NAME", "kill NAME" and
      "start NAME", where NAME is mon, osd, rgw or all, and "skew SECONDS LIBRARY" (fault/clock.c),
      which makes the clock of a gateway that starts from then on wrong.

Settings: store=memstore (default: fast; twice the live data in memory, gone with the OSD) or
store=bluestore (a sparse file; outlives kill -9); size=BYTES of the store; any other is an option
of Ceph's own with underscores. Nothing may fill the store: its OSD aborts, and everything hangs.
Python tests import Server.
"""

import contextlib
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid

import keeper
import s3
from keeper import Missing

DAEMONS = {
    "mon": ["ceph-mon", "-f", "-i", "a"],
    "osd": ["ceph-osd", "-f", "-i", "0"],
    "rgw": ["radosgw", "-f", "-n", "client.rgw"],
}
PROGRAMS = ["ceph", "ceph-mon", "ceph-osd", "monmaptool", "osdmaptool", "rados", "radosgw"]
PROGRAMS += ["radosgw-admin"]
# The ceph command is a script for the system's own python3.
SYSTEM_PATH = "/usr/bin:/usr/sbin:/bin:/sbin"
START_SECONDS = 60
STOP_SECONDS = 15
# Its unix sockets lie 40 bytes below, and their names may have 107.
SCRATCH_MAX = 45
USER = "graviton"
DATA_POOL = "default.rgw.buckets.data"
SIZES = {"memstore": 8 << 30, "bluestore": 32 << 30}
PROBE = "graviton-probe"
# A memstore counts its bytes without a lock. Where that comes out below zero, as it may when nearly
# all was removed, the OSD takes itself for full ("-2147483648% full") and stands still.
BALLAST = 64 << 20
SLOW_OPTION = "rgw_max_concurrent_requests"

# ms mon client mode: the gateway's default, secure, cannot go with no authentication. Objecter
# tick: a request made just before its pool is there, as the first ones are, waits for it, 5 s by
# default. Watch timeout: a gateway that was killed counts as there, and is waited for where others
# are told something, for 30 s by default. tcp_nodelay: without it each small GET takes 40 ms. The
# gateway frees deleted data after seconds, not hours, and takes tiny parts, so that tests of
# multipart uploads need few bytes.
CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon_port}]
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
ms bind msgr1 = false
keyring = {directory}/keyring
run dir = {directory}/run
crash dir = {directory}/crash
admin socket = {directory}/run/$name.$pid.asok
log file = {directory}/log/$name.log
log to stderr = false
mon cluster log file = {directory}/log/cluster.log
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
[mon]
mon data = {directory}/mon
mon allow pool size one = true
mon data avail warn = 1
mon data avail crit = 0
paxos propose interval = 0.05
[osd]
osd data = {directory}/osd
osd client watch timeout = 3
osd objectstore = {store}
osd memory target = 1073741824
memstore device bytes = {size}
bluestore block size = {size}
bluestore fsck on mkfs = false
[client]
objecter tick interval = 0.2
rgw data = {directory}/rgw
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw thread pool size = 64
rgw rados pool pg num min = 4
rgw run sync thread = false
rgw multipart min part size = 65536
rgw gc obj min wait = 10
rgw gc processor period = 10
rgw gc processor max time = 10
"""


def environment():
    """Without what would lead Ceph's programs elsewhere."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CEPH_", "PYTHON", "LD_")) and not name.lower().endswith("_proxy")
    }
    return dict(kept, PATH=SYSTEM_PATH)


def programs():
    lacking = [name for name in PROGRAMS if not shutil.which(name, path=SYSTEM_PATH)]
    if lacking:
        raise Missing(f"no Ceph gateway ({lacking[0]} is missing): run tools/setup test")


def ceph_run(directory, *words, given=None, timeout=START_SECONDS):
    """Runs one of Ceph's own programs; its standard output."""
    line = [words[0], "-c", os.path.join(directory, "ceph.conf")] + list(words[1:])
    try:
        done = subprocess.run(
            line,
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            env=environment(),
            timeout=timeout,
        )
    except subprocess.TimeoutExpired as late:
        raise RuntimeError(f"{' '.join(words[:3])}: no end after {late.timeout} s") from None
    if done.returncode:
        told = done.stderr.decode("utf-8", "replace").strip()[-500:]
        raise RuntimeError(f"{' '.join(words[:3])}: exit {done.returncode}: {told}")
    return done.stdout


class Gateway:
    """The daemons, as children of this process."""

    def __init__(self, settings):
        programs()
        self.settings = dict(settings)
        self.store = self.settings.pop("store", "memstore")
        if self.store not in SIZES:
            raise ValueError(f"no store {self.store}: use {' or '.join(SIZES)}")
        self.size = int(self.settings.pop("size", SIZES[self.store]))
        self.directory = keeper.scratch("graviton-ceph-", SCRATCH_MAX)
        self.daemons = {}
        self.skew = 0
        self.gateway_variables = {}
        self.port = None
        self.key_id = "graviton"
        self.secret = secrets.token_hex(20)

    def path(self, *parts):
        return os.path.join(self.directory, *parts)

    def run(self, *words, **more):
        return ceph_run(self.directory, *words, **more)

    def init(self):
        """A port found free may be taken by the time its daemon wants it, so again."""
        for left in range(4, -1, -1):
            try:
                self.make()
                return
            except RuntimeError:
                self.stop("all", signal.SIGKILL)
                if left == 0 or keeper.abandoned():
                    raise
                for name in os.listdir(self.directory):
                    path = self.path(name)
                    shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)

    def make(self):
        for name in ("mon", "osd", "rgw", "run", "log", "crash"):
            os.mkdir(self.path(name))
        with open(self.path("keyring"), "w", encoding="utf-8"):
            pass
        fsid, mon_port = str(uuid.uuid4()), keeper.free_port()
        self.port = keeper.free_port()
        with open(self.path("ceph.conf"), "w", encoding="utf-8") as file:
            file.write(
                CONFIGURATION.format(
                    fsid=fsid, mon_port=mon_port, port=self.port, directory=self.directory,
                    store=self.store, size=self.size,
                )  # fmt: skip
            )
            file.write("[global]\n")
            for name, value in self.settings.items():
                file.write(f"{name.replace('_', ' ')} = {value}\n")
        monmap, osdmap = self.path("monmap"), self.path("osdmap")
        address = f"[v2:127.0.0.1:{mon_port}]"
        self.run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, monmap)
        # The cluster begins with its OSD in the map, so nobody has to ask for it.
        self.run("osdmaptool", "--createsimple", "1", osdmap)
        maps = ["--monmap", monmap, "--osdmap", osdmap]
        self.run("ceph-mon", "--mkfs", "-i", "a", *maps)
        self.spawn("mon")
        self.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", str(uuid.uuid4()))
        self.spawn("osd")
        self.make_user()
        self.spawn("rgw")
        self.wait_ready()
        if self.store == "memstore" and self.size == SIZES["memstore"]:
            s3.Client(f"http://127.0.0.1:{self.port}", self.key_id, self.secret).put(
                PROBE, "ballast", bytes(BALLAST)
            )

    def make_user(self):
        """Waits for the OSD too. A monitor that could not start would be waited for in vain."""
        line = ["radosgw-admin", "-c", self.path("ceph.conf"), "user", "create"]
        line += [f"--uid={USER}", f"--display-name={USER}", "--max-buckets=0"]
        line += [f"--access-key={self.key_id}", f"--secret-key={self.secret}"]
        with open(self.path("log", "user.out"), "ab") as log:
            admin = subprocess.Popen(
                line, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(),
                preexec_fn=keeper.dies_with_parent(signal.SIGKILL),
            )  # fmt: skip
        try:
            self.wait(lambda: admin.poll() is not None, "radosgw-admin user create")
        finally:
            if admin.poll() is None:
                admin.kill()
            admin.wait()
        if admin.returncode:
            raise RuntimeError("radosgw-admin user create: " + self.last_words("user"))

    def last_words(self, name):
        with open(self.path("log", name + ".out"), encoding="utf-8", errors="replace") as log:
            return log.read()[-1000:].strip()

    def wait(self, condition, what):
        end = time.monotonic() + START_SECONDS
        while not condition():
            for name, daemon in self.daemons.items():
                if daemon.poll() is not None:
                    raise RuntimeError(f"{DAEMONS[name][0]} has died: {self.last_words(name)}")
            if time.monotonic() > end:
                raise RuntimeError(f"{what}: no end after {START_SECONDS} s")
            if keeper.abandoned():
                raise RuntimeError("nobody waits for the gateway any more")
            time.sleep(0.02)

    def spawn(self, name):
        program, *words = DAEMONS[name]
        with open(self.path("log", name + ".out"), "ab") as log:
            self.daemons[name] = subprocess.Popen(
                [program, "-c", self.path("ceph.conf")] + words,
                cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=dict(environment(), **(self.gateway_variables if name == "rgw" else {})),
                preexec_fn=keeper.dies_with_parent(signal.SIGKILL),
            )  # fmt: skip

    def answers(self):
        """A write and a read back of one object prove the whole path."""
        url = f"http://127.0.0.1:{self.port}"
        client = s3.Client(url, self.key_id, self.secret, timeout=5, skew=self.skew)
        try:
            client.make_bucket(PROBE)
            client.put(PROBE, "probe", b"probe")
            return client.get(PROBE, "probe") == b"probe"
        except (OSError, s3.Refused, http.client.HTTPException):
            return False

    def wait_ready(self):
        self.wait(self.answers, "the gateway's first object")

    def start(self, name):
        for each in DAEMONS if name == "all" else [name]:
            if each not in self.daemons:
                if each == "osd" and self.store == "memstore":
                    raise RuntimeError("what was in a memstore went with its OSD")
                self.spawn(each)
        if set(DAEMONS) <= set(self.daemons):
            self.wait_ready()

    def stop(self, name, number):
        for each in ("rgw", "osd", "mon") if name == "all" else [name]:
            daemon = self.daemons.pop(each, None)
            if daemon is None:
                continue
            if daemon.poll() is None:
                daemon.send_signal(number)
                daemon.send_signal(signal.SIGCONT)  # it may have been stopped by a test
            try:
                daemon.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def obey(self, words):
        if len(words) == 3 and words[0] == "skew":
            self.skew = int(words[1])
            self.gateway_variables = {"GRAVITON_TEST_SKEW": words[1], "LD_PRELOAD": words[2]}
            return
        if len(words) != 2 or words[1] not in ("all", *DAEMONS):
            raise RuntimeError(f"not a command: {' '.join(words)}")
        if words[0] == "start":
            self.start(words[1])
        elif words[0] == "stop":
            self.stop(words[1], signal.SIGTERM)
        elif words[0] == "kill":
            self.stop(words[1], signal.SIGKILL)
        else:
            raise RuntimeError(f"not a command: {' '.join(words)}")

    def remove(self):
        self.stop("all", signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)

    def facts(self):
        return {
            "url": f"http://127.0.0.1:{self.port}",
            "port": self.port,
            "key_id": self.key_id,
            "secret": self.secret,
            "skew": self.skew,
            "directory": self.directory,
            "pids": {name: daemon.pid for name, daemon in self.daemons.items()},
        }


class Server(keeper.Kept):
    """A gateway in a process of its own, for `with`. url, port, key_id, secret, skew, directory,
    pids."""

    def __init__(self, **settings):
        programs()
        super().__init__(__file__, settings)

    def client(self, **more):
        """One whose clock agrees with the gateway's."""
        return s3.Client(self.url, self.key_id, self.secret, skew=self.skew, **more)

    def environment(self):
        return {
            "GRAVITON_TEST_S3": self.url,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": "us-east-1",
        }

    # Daemons: "mon", "osd", "rgw" or "all".

    def stop(self, name="all"):
        self.tell(f"stop {name}")

    def kill(self, name="all"):
        self.tell(f"kill {name}")

    def start(self, name="all"):
        self.tell(f"start {name}")

    @contextlib.contextmanager
    def skewed(self, library, seconds):
        """Inside, the gateway runs with a clock that is wrong by so much; started anew for it."""
        try:
            self.kill("rgw")
            self.tell(f"skew {seconds} {library}")
            self.start("rgw")
            yield
        finally:
            self.kill("rgw")
            self.tell(f"skew 0 {library}")
            self.start("rgw")

    @contextlib.contextmanager
    def frozen(self, name):
        """Inside, one daemon is stopped as by a debugger: its connections stay, nothing answers."""
        pid = self.pids[name]
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def ceph(self, *words, **more):
        return ceph_run(self.directory, *words, **more)

    @contextlib.contextmanager
    def paused(self):
        """Inside, the OSD takes no reads and writes; requests that wait are done afterwards."""
        self.ceph("ceph", "osd", "set", "pause")
        try:
            yield
        finally:
            self.ceph("ceph", "osd", "unset", "pause")

    def configure(self, option, value):
        """Changes an option of the running gateway."""
        socket_path = os.path.join(self.directory, "run", f"client.rgw.{self.pids['rgw']}.asok")
        self.ceph("ceph", "--admin-daemon", socket_path, "config", "set", option, str(value))

    @contextlib.contextmanager
    def busy(self, bucket):
        """Inside, every request is answered 503 SlowDown: the gateway may do one thing at a time,
        and does it, for a PUT whose body does not come."""
        target, headers = self.client().prepare("PUT", bucket, "busy", body=b"busy")
        headers["content-length"] = "4"
        lines = [f"PUT {target} HTTP/1.1"] + [f"{n}: {v}" for n, v in headers.items()]
        with socket.create_connection(("127.0.0.1", self.port)) as held:
            held.sendall("\r\n".join(lines + ["", ""]).encode())
            self.configure(SLOW_OPTION, 1)
            try:
                self.wait_for(lambda: self.client().request("GET", bucket).status == 503)
                yield
            finally:
                self.configure(SLOW_OPTION, 1024)

    def wait_for(self, condition, seconds=10):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise RuntimeError("the gateway never came into the state that was asked for")
            time.sleep(0.02)

    # Users: the one of the environment unless another is named.

    def admin(self, *words):
        return self.ceph("radosgw-admin", *words)

    def make_user(self, name):
        """Another user; a client with its credentials."""
        made = json.loads(self.admin("user", "create", f"--uid={name}", f"--display-name={name}"))
        return s3.Client(self.url, made["keys"][0]["access_key"], made["keys"][0]["secret_key"])

    @contextlib.contextmanager
    def suspended(self, user=USER):
        self.admin("user", "suspend", f"--uid={user}")
        try:
            yield
        finally:
            self.admin("user", "enable", f"--uid={user}")

    @contextlib.contextmanager
    def quota(self, bucket, **limits):
        """Inside, a bucket may hold so much: max_size in bytes, max_objects."""
        words = [f"--{name.replace('_', '-')}={value}" for name, value in limits.items()]
        scope = ["--quota-scope=bucket", f"--bucket={bucket}"]
        self.admin("quota", "set", *scope, *words)
        self.admin("quota", "enable", *scope)
        try:
            yield
        finally:
            self.admin("quota", "disable", *scope)

    # Damage below the gateway, which does not notice.

    def parts(self, bucket, key):
        """The names of what holds an object's bytes in the pool: the head, then the rest."""
        told = self.admin("object", "stat", f"--bucket={bucket}", f"--object={key}")
        manifest = json.loads(told)["manifest"]
        marker = manifest["tail_placement"]["bucket"]["marker"]
        head = f"{marker}_{'_' * key.startswith('_')}{key}"
        rest = manifest["prefix"]
        listed = self.ceph("rados", "-p", DATA_POOL, "ls").decode().splitlines()
        found = [n for n in listed if n.startswith(f"{marker}__") and rest in n and n != head]
        return [head] * (head in listed) + sorted(found)

    def rot(self, part, offset=0):
        """Changes one byte of such a part."""
        at = ["rados", "-p", DATA_POOL]
        path = os.path.join(self.directory, "rot")
        self.ceph(*at, "get", part, path)
        with open(path, "rb") as file:
            file.seek(offset)
            old = file.read(1)
        if not old:
            raise RuntimeError(f"{part} has no byte {offset}")
        with open(path, "wb") as file:
            file.write(bytes([old[0] ^ 0x40]))
        self.ceph(*at, "put", part, path, "--offset", str(offset))
        os.remove(path)

    def cut(self, part, size):
        """Makes such a part shorter."""
        self.ceph("rados", "-p", DATA_POOL, "truncate", part, str(size))

    def lose(self, part):
        self.ceph("rados", "-p", DATA_POOL, "rm", part)


def main():
    verb, optional, settings, command = keeper.arguments(
        "usage: ceph.py run [--optional] [--set NAME=VALUE]... [--] COMMAND [ARGUMENT]...\n"
        "       ceph.py serve [--set NAME=VALUE]..."
    )
    if verb == "serve":
        return keeper.keep(Gateway(settings))
    return keeper.run(lambda: Server(**settings), optional, command)


if __name__ == "__main__":
    sys.exit(main())
