#!/usr/bin/env python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the page of the results of run.py: page.py GPU.json PAGE.md. Says nothing that is not in the results."""

from __future__ import annotations

import json
import pathlib
import sys

TITLES = {"pair": "Two nodes with one GPU each", "single": "One node with two GPUs"}


def table(head: list[str], rows: list[list]) -> list[str]:
    lines = ["| %s |" % " | ".join(head), "| %s |" % " | ".join("---" for _column in head)]
    return [*lines, *["| %s |" % " | ".join(map(cell, row)) for row in rows], ""]


def cell(value) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, float):
        return "%g" % round(value, 2)
    return str(value).replace("|", "\\|").replace("\n", " ")


def page(results: dict) -> str:
    steps, machine = results["steps"], results.get("machine", {})
    lines = ["# On GPUs", ""]
    gpus = machine.get("gpus", [])
    what = "%d of %s (driver %s)" % (len(gpus), gpus[0]["name"], gpus[0]["driver"]) if gpus else "no GPU (a rehearsal)"
    lines += [
        "Made by %s on %s at commit `%s`: %s, %s cores, %s GB of memory, kernel %s; %s."
        % (
            ", ".join("`%s`" % command for command in results["commands"]),
            results["started"][:10],
            results.get("commit") or "unknown",
            what,
            machine.get("cores"),
            machine.get("memory_gb"),
            machine.get("kernel"),
            ", ".join("%s %s" % pair for pair in results.get("versions", {}).items()),
        ),
        "",
        "Nodes are namespaces of one machine, each with its own sshd, address and GPUs, without Docker and systemd;",
        "`deploy` ran over SSH with `cluster_runtime: venv`. Seconds, where nothing else is said.",
        "",
    ]
    for name, title in TITLES.items():
        lines += deployment(name, title, steps)
    lines += throughput(steps) + loading(steps)
    failed = {name: step["error"] for name, step in steps.items() if not step["ok"]}
    if failed:
        lines += ["## What was not as expected", ""]
        lines += table(["step", "what"], [[name, error[:300]] for name, error in failed.items()])
    return "\n".join(lines).rstrip() + "\n"


def deployment(name: str, title: str, steps: dict) -> list[str]:
    done = {key.partition(".")[2]: step for key, step in steps.items() if key.startswith(name + ".")}
    if not done.get("deploy", {}).get("ok"):
        return []
    deploy, answer, fabric = done["deploy"], done.get("answer", {}), done.get("fabric", {})
    lines = ["## %s" % title, ""]
    if "answer" in answer:
        words = "Tensor parallel %s, pipeline parallel %s. Asked twice, it answered %s:"
        lines += [words % (answer["tensor"], answer["pipeline"], "the same" if answer["same"] else "differently"), ""]
        # Of random weights there is no end, and no sense.
        said = " ".join(answer["answer"].split())
        lines += ["> %s" % (said if len(said) <= 200 else said[:100] + "…"), ""]
    if fabric.get("row"):
        row = fabric["row"]
        lines += ["Fabric: %s; wanted %s (%s)." % (row["found"], row["expected"], row["result"]), ""]
    tokens = done.get("tokens", {})
    if "real" in tokens:
        words = "KV cache: {:,} tokens planned, {:,} by vLLM's log, {:+.1%}."
        lines += [words.format(tokens["planned"], tokens["real"], tokens["off"]), ""]
    rows = [["deploy", deploy["seconds"], deploy["before_engine"], deploy["engine"], deploy["after_ready"]]]
    second = done.get("second", {})
    if "seconds_to_answer" in second:
        rows.append(
            [
                "stop, then start",
                second["seconds_to_answer"],
                second["before_engine"],
                second["start"],
                second["after_ready"],
            ]
        )
    lines += table(["start", "whole", "before the engine", "engine until it serves", "afterwards"], rows)
    if "ratio" in second:
        several = second.get("starts", [])
        which = " (median of %s)" % ", ".join("%g" % each for each in several) if len(several) > 1 else ""
        lines += ["The second start of the engine took %g of the first%s." % (second["ratio"], which), ""]
    lines += ["Of the deployment, by roles: %s." % ", ".join("%s %g" % pair for pair in deploy["roles"].items()), ""]
    stages = [
        [label, *[step.get("stages", {}).get(key) for key in STAGES]]
        for label, step in (("first", deploy), ("second", second))
        if step.get("stages")
    ]
    lines += table(["start of the engine", *STAGES.values()], stages) if stages else []
    fault = done.get("fault", {})
    if "healed" in fault:
        lines += [
            "A killed rank: noticed after %g, engine started anew after %g, answered after %g; that start took %g."
            % (fault["noticed"], fault["started_anew"], fault["healed"], fault["start"]),
            "",
        ]
    return lines


STAGES = {
    "weights": "weights",
    "model": "model",
    "compile": "torch.compile",
    "graphs": "CUDA graphs",
    "engine": "init engine",
}


def throughput(steps: dict) -> list[str]:
    ours, hand = steps.get("single.throughput", {}), steps.get("single.by_hand", {})
    rows = []
    for load in ours.get("output_tokens_per_s", {}):
        for label, step in (("deployed, through the endpoint", ours), ("by hand", hand)):
            rates = sorted(each["output_throughput"] for each in step.get("runs", []) if each["streams"] == load)
            if rates:
                median = step["output_tokens_per_s"][load]
                rows.append([load, label, len(rates), round(median), round(rates[0]), round(rates[-1])])
    if not rows:
        return []
    lines = ["## Throughput, beside the same command by hand", ""]
    head = ["streams", "`vllm bench serve`", "runs", "output tokens/s, median", "least", "most"]
    lines += table(head, rows)
    told = ["%g with %s streams" % (ratio, load) for load, ratio in hand.get("ratios", {}).items()]
    return lines + (["Deployed / by hand: %s." % ", ".join(told), ""] if told else [])


def loading(steps: dict) -> list[str]:
    cases = steps.get("single.loading", {}).get("cases", [])
    if not cases:
        return []
    head = ["way", "from", "in the page cache before", "model", "weights", "whole start"]
    rows = []
    for case in cases:
        end = case.get("start") if "error" not in case else "failed: " + case["error"][-120:]
        rows.append([case["name"], case["where"], case["cached_before"], case.get("model"), case.get("weights"), end])
    words = "`model` and `weights` are what vLLM logs; one GPU, the model of 8B parameters."
    return ["## Loading the weights", "", words, "", *table(head, rows)]


if __name__ == "__main__":
    pathlib.Path(sys.argv[2]).write_text(page(json.loads(pathlib.Path(sys.argv[1]).read_text())))
