# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`vllm bench serve`, several times in one process, since its imports take longer than a run. Runs on a node.

Usage: REPEATS SEED STREAMS,STREAMS [arguments of vllm bench serve]. Each run has prompts of its own, which no cache
knows, four for each stream.
"""

import argparse
import json
import sys

from vllm.benchmarks import serve

KEYS = ("completed", "failed", "duration", "output_throughput", "total_token_throughput", "request_throughput")
KEYS += ("median_ttft_ms", "median_tpot_ms")
repeats, seed, loads = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].split(",")
parser = argparse.ArgumentParser()
serve.add_cli_args(parser)
for streams in loads:
    load = ["--max-concurrency", streams, "--num-prompts", str(4 * int(streams))]
    for number in range(repeats):
        told = serve.main(parser.parse_args([*sys.argv[4:], *load, "--seed", str(seed)]))
        result = {key: told.get(key) for key in KEYS}
        print("ONECC " + json.dumps({"streams": streams, "warm_up": number == 0, **result}), flush=True)
        seed += 1
