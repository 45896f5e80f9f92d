# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`vllm bench serve`, several times in one process, since its imports take longer than a run. Runs on a node.

Usage: REPEATS SEED [arguments of vllm bench serve]. Each run has prompts of its own, which no cache knows.
"""

import argparse
import json
import sys

from vllm.benchmarks import serve

KEYS = ("completed", "failed", "duration", "output_throughput", "total_token_throughput", "request_throughput")
KEYS += ("median_ttft_ms", "median_tpot_ms")
repeats, seed = int(sys.argv[1]), int(sys.argv[2])
parser = argparse.ArgumentParser()
serve.add_cli_args(parser)
for number in range(repeats):
    told = serve.main(parser.parse_args([*sys.argv[3:], "--seed", str(seed + number)]))
    print("ONECC " + json.dumps({key: told.get(key) for key in KEYS}), flush=True)
