#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Figures of `graviton serve` beside nginx on the same files, in one run:

  serve.py PROGRAM PUTTER DURABLE [--large N] [--small N] [--rounds N] [--seconds N]

PUTTER and DURABLE are bench-http-put and the library that makes nginx sync what it answers for.
GET by wrk, 32 connections, spread evenly over N distinct blobs of 1 MiB (2048 unless said) and of
4 KiB (131072), and of one hot blob each, without a cache and with one in memory that has room for
all of them; PUT of 1 MiB bodies that have never been before, beside nginx's WebDAV. Both servers
have a process or thread a core, and write a line a request to a file. Medians of some rounds in
turns. Last, the server's resident memory with 500 connections at work.
Without nginx and wrk (tools/setup peers) there are no figures.
"""

import argparse
import os
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
SYSTEM_PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
CONNECTIONS = 32
CACHE = "memory:?size=4G"
SHARED_FILES = 256  # in one directory

WRK_SCRIPT = """
local paths = {}
for line in io.lines(os.getenv("BENCH_PATHS")) do paths[#paths + 1] = line end
local requests = {}
local seeded = 0
function setup(thread) seeded = seeded + 1; thread:set("seed", seeded) end
function init() math.randomseed(seed * 7919 + os.time()) end
request = function()
  local at = math.random(#paths)
  local found = requests[at]
  if not found then found = wrk.format("GET", paths[at]); requests[at] = found end
  return found
end
done = function(summary)
  local errors = summary.errors
  io.write(string.format("FAILED %d\\n",
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""

NGINX = """
{user}
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/nginx.err warn;
worker_processes {cores};
events {{ worker_connections 4096; }}
http {{
  access_log {directory}/nginx.log;
  sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 1000000000;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    root {directory}/files;
    location /put/ {{
      root {directory};
      dav_methods PUT; create_full_put_path on; client_max_body_size 0;
      client_body_buffer_size 1m;
    }}
  }}
}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port, process, log):
    until = time.monotonic() + 20
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    with open(log, errors="replace") as text:
        sys.exit(f"bench: no server on port {port}: {text.read()[-1000:]}")


class Server:
    """A process that listens, until the end of the `with`."""

    def __init__(self, line, port, log, environment=None):
        self.port = port
        self.log = log
        with open(log, "ab") as out:
            self.process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                            env=environment)
        wait_for(port, self.process, log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def line(name, figure, unit, ratio=None, baseline=None, floor=None):
    text = f"{name:<44} {figure:>10.1f} {unit}"
    if ratio is not None:
        text += f"  {ratio:5.2f} of {baseline}"
    if floor is not None:
        text += f" (floor {floor}: {'reached' if ratio >= floor else 'NOT reached'})"
    print(text, flush=True)


def tell(what, found, unit, floor):
    for name, figure in found.items():
        if name == "nginx":
            line(f"{what}, nginx", figure, unit)
        else:
            line(f"{what}, {name}", figure, unit, figure / found["nginx"], "nginx", floor)


class Rig:
    def __init__(self, arguments, directory):
        self.program = os.path.abspath(arguments.program)
        self.putter = os.path.abspath(arguments.putter)
        self.durable = os.path.abspath(arguments.durable)
        self.rounds = arguments.rounds
        self.seconds = arguments.seconds
        self.directory = directory
        self.environment = {name: value for name, value in os.environ.items()
                            if not name.startswith("GRAVITON_")}
        self.environment["PATH"] = SYSTEM_PATH
        with open(self.path("wrk.lua"), "w") as script:
            script.write(WRK_SCRIPT)

    def path(self, name):
        return os.path.join(self.directory, name)

    def nginx(self, durable=False):
        port = free_port()
        user = "user root;" if os.getuid() == 0 else ""
        with open(self.path("nginx.conf"), "w") as config:
            config.write(NGINX.format(directory=self.directory, port=port, cores=os.cpu_count(),
                                      user=user))
        environment = dict(self.environment)
        if durable:
            environment["LD_PRELOAD"] = self.durable
        return Server(["nginx", "-c", self.path("nginx.conf"), "-p", self.directory], port,
                      self.path("nginx.out"), environment)

    def graviton(self, store, *options):
        port = free_port()
        return Server([self.program, "serve", "--store", store, "--listen", f"127.0.0.1:{port}",
                       *options], port, self.path("graviton.log"), self.environment)

    def wrk(self, port, paths, connections=CONNECTIONS):
        """Requests a second."""
        done = subprocess.run(
            ["wrk", "-t2", f"-c{connections}", f"-d{self.seconds}s", "--timeout", "30s", "-s",
             self.path("wrk.lua"), f"http://127.0.0.1:{port}/"],
            env=dict(self.environment, BENCH_PATHS=paths), capture_output=True, text=True)
        rate = re.search(r"Requests/sec:\s+([0-9.]+)", done.stdout)
        failed = re.search(r"FAILED (\d+)", done.stdout)
        if done.returncode != 0 or not rate or not failed or int(failed.group(1)) > 0:
            sys.exit(f"bench: wrk: {done.stdout[-800:]}{done.stderr[-500:]}")
        return float(rate.group(1))

    def put(self, port, method, path, size):
        done = subprocess.run([self.putter, "127.0.0.1", str(port), method, path, str(CONNECTIONS),
                               str(self.seconds), str(size)], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"bench: {done.stderr[-500:]}")
        return float(done.stdout.split()[0])

    def medians(self, runs):
        """name -> median figure of servers that take turns."""
        figures = {name: [] for name in runs}
        for _ in range(self.rounds):
            for name, run in runs.items():
                figures[name].append(run())
        return {name: statistics.median(values) for name, values in figures.items()}


def make_files(rig, kind, count, size):
    """Files for nginx, and the same in a store; the lists of their paths."""
    root = rig.path(f"files/{kind}")
    source = random.Random(f"{kind}{size}")
    names = []
    for number in range(count):
        name = f"{number // SHARED_FILES:04d}/{number}"
        if number % SHARED_FILES == 0:
            os.makedirs(os.path.dirname(os.path.join(root, name)))
        with open(os.path.join(root, name), "wb") as file:
            file.write(source.randbytes(size))
        names.append(name)
    store = rig.path(f"store-{kind}")
    done = subprocess.run([rig.program, "put", "--store", store, "-r", "-q", root],
                          env=rig.environment, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"bench: put: {done.stderr[-500:]}")
    ids = [row.split("\t")[0] for row in done.stdout.splitlines()]
    lists = {"nginx": [f"/{kind}/{name}" for name in names],
             "graviton": [f"/api/blobs/{key}" for key in ids]}
    for server, paths in lists.items():
        with open(rig.path(f"{server}-{kind}.txt"), "w") as text:
            text.write("\n".join(paths) + "\n")
        with open(rig.path(f"{server}-{kind}-hot.txt"), "w") as text:
            text.write(paths[0] + "\n")
    return store


def gets(rig, kind, store, size, floor):
    with rig.nginx() as nginx, rig.graviton(store) as ours:
        gets_beside(rig, kind, {"nginx": nginx, "graviton": ours}, size, floor)
    with rig.nginx() as nginx, rig.graviton(store, "--cache", CACHE) as ours:
        gets_beside(rig, kind, {"nginx": nginx, "graviton, cache": ours}, size, floor)


def gets_beside(rig, kind, servers, size, floor):
    for shape, limit in (("", floor), ("-hot", None)):
        runs = {
            name: (lambda n=name: rig.wrk(
                servers[n].port, rig.path(f"{n.split(',')[0]}-{kind}{shape}.txt")))
            for name in servers
        }
        for run in runs.values():
            run()
        found = rig.medians(runs)
        what = f"GET {kind}{', one hot blob' if shape else ', spread'}"
        if size >= 1 << 20:
            tell(what, {n: rate * size / 1e6 for n, rate in found.items()}, "MB/s", limit)
        else:
            tell(what, found, "/s", limit)


def puts(rig, size, floor):
    os.makedirs(rig.path("put"))
    with rig.nginx(durable=True) as nginx, rig.graviton(rig.path("store-put")) as ours:
        found = rig.medians({
            "nginx": lambda: rig.put(nginx.port, "PUT", f"/put/{random.getrandbits(48)}-%u", size),
            "graviton": lambda: rig.put(ours.port, "POST", "/api/blobs", size),
        })
    rates = {name: rate * size / 1e6 for name, rate in found.items()}
    tell("PUT of 1 MiB, durable", rates, "MB/s", floor)


def resident(pid):
    with open(f"/proc/{pid}/status") as text:
        return {row.split(":")[0]: int(row.split()[1]) for row in text if row.startswith("Vm")}


def memory(rig, store, connections):
    with rig.graviton(store) as ours:
        rig.wrk(ours.port, rig.path("graviton-1MiB.txt"), connections)
        peak = resident(ours.process.pid)["VmHWM"] / 1024
        with urllib.request.urlopen(f"http://127.0.0.1:{ours.port}/api/health", timeout=10):
            pass
    print(f"{f'most resident memory, {connections} connections':<44} {peak:>10.1f} MiB "
          f"(at most 256: {'reached' if peak < 256 else 'NOT reached'})", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", help="the built graviton")
    parser.add_argument("putter", help="the built bench-http-put")
    parser.add_argument("durable", help="the built durable.so")
    parser.add_argument("--large", type=int, default=2048, help="blobs of 1 MiB; 2048")
    parser.add_argument("--small", type=int, default=131072, help="blobs of 4 KiB; 131072")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=8, help="of each measurement; 8")
    parser.add_argument("--only", choices=["large", "small", "put", "memory"])
    arguments = parser.parse_args()
    missing = [name for name in ("nginx", "wrk") if not shutil.which(name, path=SYSTEM_PATH)]
    if missing:
        print(f"no figures: {' and '.join(missing)} not installed: tools/setup peers")
        return 0
    chosen = {arguments.only} if arguments.only else {"large", "small", "put", "memory"}
    with tempfile.TemporaryDirectory() as directory:
        rig = Rig(arguments, directory)
        if chosen & {"large", "memory"}:
            store = make_files(rig, "1MiB", arguments.large, 1 << 20)
            if "large" in chosen:
                gets(rig, "1MiB", store, 1 << 20, 0.5)
            if "memory" in chosen:
                memory(rig, store, 500)
        if "small" in chosen:
            store = make_files(rig, "4KiB", arguments.small, 4096)
            gets(rig, "4KiB", store, 4096, 0.4)
        if "put" in chosen:
            puts(rig, 1 << 20, 0.5)
    return 0


if __name__ == "__main__":
    sys.exit(main())
