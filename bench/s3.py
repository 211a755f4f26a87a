#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Figures of the program over S3, beside other clients on the same gateway in the same run:

  s3.py PROGRAM [--size MIB] [--rounds N]

One object put and got (`graviton object put|get`), beside `rclone copyto` and `aws s3 cp` as they
come; a put of data that a store in S3 has already, beside `rclone copy` of it, and how many of its
bytes are sent for that. Each figure is the median of some rounds in which the clients take turns.
The gateway keeps its data on a disk. Clients that are not installed are left out and named; without
the gateway's packages there are no figures.
"""

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "service"))
import ceph
import keeper
import proxy

BUCKET = "bench"
SYSTEM_PATH = "/usr/bin:/bin:/usr/sbin:/sbin"


def fill(path, size_mib, seed):
    """A file of bytes that nothing can make smaller."""
    source = random.Random(seed)
    with open(path, "wb") as file:
        for _ in range(size_mib):
            file.write(source.randbytes(1 << 20))


class Rig:
    def __init__(self, program, gateway, directory):
        self.program = os.path.abspath(program)
        self.gateway = gateway
        self.directory = directory
        self.environment = {name: value for name, value in os.environ.items()
                            if not name.startswith(("AWS_", "GRAVITON_", "RCLONE_"))}
        self.environment.update(gateway.environment())
        # Other clients are scripts for the system's own python3.
        self.environment["PATH"] = SYSTEM_PATH
        self.environment.update({
            "RCLONE_CONFIG": "/dev/null",
            "RCLONE_CONFIG_HERE_TYPE": "s3",
            "RCLONE_CONFIG_HERE_PROVIDER": "Ceph",
            "RCLONE_CONFIG_HERE_ENV_AUTH": "true",
            "RCLONE_CONFIG_HERE_ENDPOINT": gateway.url,
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_DEFAULT_REGION": "us-east-1",
        })

    def path(self, name):
        return os.path.join(self.directory, name)

    def run(self, *line, **more):
        """Runs a command; its seconds."""
        begun = time.monotonic()
        done = subprocess.run(line, env=dict(self.environment, **more), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"bench: {' '.join(line)}: exit {done.returncode}: {done.stderr[-500:]}")
        return time.monotonic() - begun


def line(name, figure, unit, ratio=None, baseline=None, floor=None):
    text = f"{name:<40} {figure:>10.1f} {unit}"
    if ratio is not None:
        text += f"  {ratio:5.2f} of {baseline}"
    if floor is not None:
        text += f" (floor {floor}: {'reached' if ratio >= floor else 'NOT reached'})"
    print(text, flush=True)


def medians(runs, rounds, after=None):
    """name -> median seconds of clients that take turns."""
    seconds = {name: [] for name in runs}
    for number in range(rounds):
        for name, run in runs.items():
            seconds[name].append(run(number))
            if after:
                after(name, number)
    return {name: statistics.median(values) for name, values in seconds.items()}


def tell(what, found, size):
    """A line a client; ours beside the fastest of the others."""
    rates = {name: size / 1e6 / seconds for name, seconds in found.items()}
    others = {name: rate for name, rate in rates.items() if name != "graviton"}
    best = max(others, key=others.get) if others else None
    for name, rate in others.items():
        line(f"{what}, {name}", rate, "MB/s")
    if best:
        line(f"{what}, graviton", rates["graviton"], "MB/s", rates["graviton"] / others[best], best,
             1.0)
    else:
        line(f"{what}, graviton", rates["graviton"], "MB/s")


def objects(rig, clients, size_mib, rounds):
    """One large object, both ways."""
    size = size_mib << 20
    fill(rig.path("input"), size_mib, 1)
    aws = ["aws", "s3", "cp", "--no-progress", "--endpoint-url", rig.gateway.url]
    puts = {
        "graviton": lambda n: rig.run(rig.program, "object", "put", f"s3://{BUCKET}/graviton{n}",
                                      rig.path("input")),
        "rclone": lambda n: rig.run("rclone", "copyto", rig.path("input"),
                                    f"HERE:{BUCKET}/rclone{n}"),
        "aws": lambda n: rig.run(*aws, rig.path("input"), f"s3://{BUCKET}/aws{n}"),
    }
    gets = {
        "graviton": lambda n: rig.run(rig.program, "object", "get", "-o", rig.path("graviton"),
                                      f"s3://{BUCKET}/graviton{n}"),
        "rclone": lambda n: rig.run("rclone", "copyto", f"HERE:{BUCKET}/rclone{n}",
                                    rig.path("rclone")),
        "aws": lambda n: rig.run(*aws, f"s3://{BUCKET}/aws{n}", rig.path("aws")),
    }

    def check(name, _):
        if subprocess.run(["cmp", rig.path("input"), rig.path(name)]).returncode != 0:
            sys.exit(f"bench: {name} gave other bytes back")
        os.unlink(rig.path(name))

    chosen = ["graviton"] + clients
    tell("object put", medians({name: puts[name] for name in chosen}, rounds), size)
    tell("object get", medians({name: gets[name] for name in chosen}, rounds, check), size)


def again(rig, clients, size_mib, rounds):
    """A put of what a store has already."""
    os.mkdir(rig.path("tree"))
    for number in range(size_mib // 64):
        fill(rig.path(f"tree/{number}"), 64, 100 + number)
    size = (size_mib // 64) * 64 << 20
    more = {"GRAVITON_BLOCKS": f"s3://{BUCKET}/store", "GRAVITON_META": "rocks:" + rig.path("meta")}
    first = rig.run(rig.program, "put", "-r", rig.path("tree"), **more)
    line("put, new", size / 1e6 / first, "MB/s")
    runs = {"graviton": lambda n: rig.run(rig.program, "put", "-r", rig.path("tree"), **more)}
    if "rclone" in clients:
        runs["rclone"] = lambda n: rig.run("rclone", "copy", rig.path("tree"),
                                           f"HERE:{BUCKET}/tree{n}")
    found = medians(runs, rounds)
    rates = {name: size / 1e6 / seconds for name, seconds in found.items()}
    if "rclone" in rates:
        line("copy, rclone", rates["rclone"], "MB/s")
        line("put, there already", rates["graviton"], "MB/s", rates["graviton"] / rates["rclone"],
             "rclone", 5.0)
    else:
        line("put, there already", rates["graviton"], "MB/s")
    with proxy.Proxy(rig.gateway.url) as between:
        rig.run(rig.program, "put", "-r", rig.path("tree"), AWS_ENDPOINT_URL=between.url, **more)
        share = between.sent / size
    print(f"{'bytes sent for that':<40} {between.sent:>10} of {size} "
          f"({100 * share:.3f} %; at most 1 %: {'reached' if share < 0.01 else 'NOT reached'})")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", help="the built graviton")
    parser.add_argument("--size", type=int, default=2048, help="MiB of each input; 2048")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    clients = [name for name in ("rclone", "aws") if shutil.which(name, path=SYSTEM_PATH)]
    for name in ("rclone", "aws"):
        if name not in clients:
            print(f"{name} is not installed: tools/setup peers")
    try:
        ceph.programs()
    except keeper.Missing as missing:
        print(f"no figures: {missing}")
        return 0
    with ceph.Server(store="bluestore") as gateway, tempfile.TemporaryDirectory() as directory:
        gateway.client().make_bucket(BUCKET)
        rig = Rig(arguments.program, gateway, directory)
        objects(rig, clients, arguments.size, arguments.rounds)
        again(rig, clients, arguments.size, arguments.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
