# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A short all-reduce over all GPUs of a cluster, with the torch that will serve.

Runs once on every node, inside the serving image: starts a process for each GPU, with NCCL, or one with
Gloo where there is none. Each node prints one line of JSON about itself, and the first node also what was
measured. Bus bandwidth is that of NVIDIA's nccl-tests: 2 (n - 1) / n times bytes over time, for n ranks.
"""

import argparse
import datetime
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time

LARGE = {"nccl": 256 << 20, "gloo": 8 << 20}
# Seconds that one size is measured for, about.
LONG = 1.0


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--node-rank", type=int, required=True)
    parser.add_argument("--gpus", type=int, required=True, help="GPUs of each node; 0: one process with Gloo")
    parser.add_argument("--address", required=True, help="of the first node")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--timeout", type=int, default=60)
    parser.add_argument("--local-rank", type=int, default=-1)
    return parser.parse_args()


def node(args):
    """One process for each GPU, and what this node's containers get."""
    here = {
        "node_rank": args.node_rank,
        "memlock": resource.getrlimit(resource.RLIMIT_MEMLOCK)[0],
        "shm": shutil.disk_usage("/dev/shm").total,
    }
    ranks = []
    for local_rank in range(max(args.gpus, 1)):
        argv = [sys.executable, "-c", SOURCE, *sys.argv[1:], "--local-rank", str(local_rank)]
        ranks.append(subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    end = time.monotonic() + args.timeout
    errors = []
    for process in ranks:
        try:
            output, error = process.communicate(timeout=max(1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            output, error = process.communicate()
            error += "\nno result within %d s" % args.timeout
        if process.returncode == 0:
            here.update(json.loads(output.splitlines()[-1]))
        else:
            errors += error.strip().splitlines()[-1:]
    if errors:
        # The others wait in vain for the one that knows why.
        here["error"] = min(errors, key=lambda error: error.startswith("no result"))
    print(json.dumps(here))
    return 1 if errors else 0


def measure(dist, torch, device, size):
    """Seconds that one all-reduce of some bytes takes: the mean of as many as fit."""
    data = torch.ones(max(size // 4, 1), dtype=torch.float32, device=device)

    def some(count):
        if device != "cpu":
            torch.cuda.synchronize()
        begin = time.perf_counter()
        for _round in range(count):
            dist.all_reduce(data)
            # The sum of sums would overflow; what is reduced makes no difference to the time.
        if device != "cpu":
            torch.cuda.synchronize()
        return (time.perf_counter() - begin) / count

    some(2)
    # All ranks must agree on the number: the first one's is taken.
    count = torch.tensor([min(200, max(3, int(LONG / some(3))))], device=device)
    dist.broadcast(count, 0)
    return some(int(count.item()))


def rank(args):
    """One rank of the all-reduce. The first prints what was measured."""
    log = tempfile.mkdtemp()
    os.environ.update({"NCCL_DEBUG": "INFO", "NCCL_DEBUG_FILE": log + "/nccl.%h.%p"})
    import torch
    import torch.distributed as dist

    backend = "nccl" if args.gpus else "gloo"
    device = "cuda:%d" % args.local_rank if args.gpus else "cpu"
    if args.gpus:
        torch.cuda.set_device(args.local_rank)
    world = args.nodes * max(args.gpus, 1)
    number = args.node_rank * max(args.gpus, 1) + args.local_rank
    dist.init_process_group(
        backend,
        init_method="tcp://%s:%d" % (args.address, args.port),
        world_size=world,
        rank=number,
        timeout=datetime.timedelta(seconds=args.timeout),
    )
    check = torch.full((1,), float(number + 1), device=device)
    dist.all_reduce(check)
    if check.item() != world * (world + 1) / 2:
        raise SystemExit("wrong sum: expected %d, found %d" % (world * (world + 1) / 2, check.item()))
    latency = measure(dist, torch, device, 8)
    seconds = measure(dist, torch, device, LARGE[backend])
    ways = [[] for _rank in range(world)]
    dist.all_gather_object(ways, transports(log))
    dist.destroy_process_group()
    shutil.rmtree(log)
    measured = {
        "backend": backend,
        "ranks": world,
        "latency_us": round(latency * 1e6, 1),
        "bytes": LARGE[backend],
        "bus_gb_s": round(2 * (world - 1) / world * LARGE[backend] / seconds / 1e9, 3),
        "transports": sorted({way for each in ways for way in each}),
    }
    print(json.dumps({"measured": measured} if number == 0 else {}))


def transports(folder):
    """What NCCL says it sends over: "NET/IB", "NET/Socket", "P2P/CUMEM", "SHM/direct" and the like."""
    found = set()
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as stream:
            found.update(re.findall(r" via ((?:NET|P2P|SHM|NVLS|COLLNET)(?:/[A-Za-z]+)?)", stream.read()))
    return sorted(found)


if __name__ == "__main__":
    OPTIONS = options()
    # Given with -c, it has no file to start its ranks from: the source is the argument after -c.
    with open("/proc/self/cmdline", encoding="utf-8") as CMDLINE:
        SOURCE = CMDLINE.read().split("\0")[2]
    if OPTIONS.local_rank < 0:
        sys.exit(node(OPTIONS))
    rank(OPTIONS)
