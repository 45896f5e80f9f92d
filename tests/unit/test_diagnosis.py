# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What went wrong, on texts as people have posted them. The first line of each names where it was seen."""

from __future__ import annotations

import datetime
import io
import pathlib
import tarfile

import pytest

from ansible_collections.onecc.vllm.plugins.module_utils import diagnosis
from ansible_collections.onecc.vllm.plugins.module_utils.diagnosis import diagnose, summary
from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError
from ansible_collections.onecc.vllm.plugins.module_utils.evidence import (
    ENDPOINT_JOURNAL,
    ENGINE_LOG,
    RAY_LOG,
    UNIT_JOURNAL,
)

LOGS = pathlib.Path(__file__).resolve().parent / "data" / "logs"
# 2026-11-25 10:05:00 UTC.
START = datetime.datetime(2026, 11, 25, 10, 5, tzinfo=datetime.timezone.utc).timestamp()
HEAD, WORKER = "node00", "node01"
ADDRESSES = {HEAD: "10.41.0.7", WORKER: "10.41.0.8"}

DMESG, GCS, RAYLET = "dmesg.txt", "ray/gcs_server.out", "ray/raylet.out"
VERSION, SMI, DOWNLOAD = "docker-version.txt", "nvidia-smi.txt", "download/log"


def text(name):
    """The lines of a captured text, without the one that names its source."""
    source, *lines = (LOGS / name).read_text(encoding="utf-8").splitlines()
    assert source.startswith("# Source: "), name
    return lines


def stamped(lines, start=START, step=1.0):
    """Lines as docker logs --timestamps gives them."""
    moments = (datetime.datetime.fromtimestamp(start + step * n, datetime.timezone.utc) for n in range(len(lines)))
    return [
        "%s %s" % (moment.strftime("%Y-%m-%dT%H:%M:%S.%f000Z"), line)
        for moment, line in zip(moments, lines, strict=True)
    ]


def state(node, **more):
    """The state of a node on which all is well."""
    return dict({"node": node, "address": ADDRESSES[node], "engine": {"version": "28.1.1", "error": ""}}, **more)


def container(status="running", **more):
    return {
        "status": status,
        "exit_code": 0,
        "oom_killed": False,
        "error": "",
        "started_at": "2026-11-25T10:00:00.5Z",
        "finished_at": "0001-01-01T00:00:00Z",
        **more,
    }


def on_head(lines, name=ENGINE_LOG):
    return {HEAD: {name: stamped(lines) if name in (ENGINE_LOG, RAY_LOG) else lines}, WORKER: {}}


STATES = {HEAD: state(HEAD), WORKER: state(WORKER)}

# Text, file it was in, the cause, and a part of the line that is shown.
CASES = [
    ("01_no_ray_in_image.log", UNIT_JOURNAL, "image-ray", 'exec: "ray": executable file not found'),
    ("01_no_ray_in_shell.log", RAY_LOG, "image-ray", "ray: command not found"),
    ("01_no_ray_in_container.log", RAY_LOG, "image-ray", "exec ray failed: No such file or directory"),
    ("02_no_executor.log", ENGINE_LOG, "executor", "World size (16) is larger"),
    ("03_address_is_not_rays.log", ENGINE_LOG, "address", "{'node:172.16.10.33': 0.001, 'GPU': 1.0}"),
    ("03_too_few_gpus.log", ENGINE_LOG, "gpu-count", "number of required GPUs exceeds"),
    ("04_addresses_not_unique.log", ENGINE_LOG, "address-unique", "Got 2 nodes"),
    ("05_no_gpu_here.log", ENGINE_LOG, "gpu-present", "Current node has no GPU available"),
    ("06_versions_differ.log", RAY_LOG, "image-same", "Version mismatch: The cluster was started with:"),
    ("07_gloo_interface.log", ENGINE_LOG, "interface", "Gloo connectFullMesh failed"),
    ("07_gloo_no_such_interface.log", ENGINE_LOG, "interface", "Unable to find address for: eth7"),
    ("08_nccl_interface.log", ENGINE_LOG, "interface", "Bootstrap : no socket interface found"),
    ("08_nccl_interface_new.log", ENGINE_LOG, "interface", "with family 59936"),
    ("08_nccl_interface_named.log", ENGINE_LOG, "interface", "no NCCL_SOCKET_IFNAME interface found"),
    ("09_memlock.log", ENGINE_LOG, "memlock", "ibv_reg_mr_iova2 failed"),
    ("09_memlock_queue.log", ENGINE_LOG, "memlock", "ibv_create_cq failed"),
    ("10_shm.log", ENGINE_LOG, "shm", "/dev/shm/nccl-v2jS20 (size 9637888)"),
    ("10_shm_full.log", ENGINE_LOG, "shm", "No space left on device: '/dev/shm/psm_4f1c2a9b'"),
    ("10_shm_full_first.log", RAYLET, "shm", "/dev/shm/plasmaXXXXXX: No space left"),
    ("11_weights_not_on_worker.log", ENGINE_LOG, "storage-shared", "Failed to get file list for '/home/dynamo"),
    ("11_pointer_to_nowhere.log", ENGINE_LOG, "storage-shared", "expected the file that"),
    ("12_gated.log", ENGINE_LOG, "hub-token", "GatedRepoError: 401 Client Error"),
    ("13_ray_channel.log", ENGINE_LOG, "ray-channel", "Timed out waiting for object available to read"),
    ("14_hangs.log", ENGINE_LOG, "engine-hangs", "block found in 60 seconds"),
    ("14_engine_dead.log", ENGINE_LOG, "engine-hangs", "RPC call to sample_tokens timed out"),
    ("15_node_lost.log", GCS, "node-lost", "missed too many heartbeats"),
    ("15_raylet_marked_dead.log", RAYLET, "node-lost", "mistakenly been marked as dead"),
    ("16_ray_memory.log", ENGINE_LOG, "memory", "1 Workers (tasks / actors) killed"),
    ("16_ray_memory_new.log", RAYLET, "memory", "running low on memory"),
    ("16_kernel_memory.log", DMESG, "memory", "oom-kill:constraint"),
    ("16_cgroup_memory.log", DMESG, "memory", "Memory cgroup out of memory"),
    ("17_disk.log", ENGINE_LOG, "disk", "is over 95% full"),
    ("17_disk_write.log", ENGINE_LOG, "disk", "[Errno 28]"),
    ("17_quota.log", ENGINE_LOG, "disk", "[Errno 122]"),
    ("19_out_of_memory.log", ENGINE_LOG, "model-fit", "Tried to allocate 1.96 GiB"),
    ("19_out_of_memory_old.log", ENGINE_LOG, "model-fit", "torch.cuda.OutOfMemoryError"),
    ("19_no_cache_blocks.log", ENGINE_LOG, "model-fit", "No available memory for the cache blocks"),
    ("19_max_seq_len.log", ENGINE_LOG, "model-fit", "max seq len (131072)"),
    ("19_max_seq_len_new.log", ENGINE_LOG, "model-fit", "16.0 GiB KV cache is needed"),
    ("20_port_taken.log", ENGINE_LOG, "port", "('0.0.0.0', 8000): address already in use"),
    ("20_port_taken_early.log", ENGINE_LOG, "port", "[Errno 98] Address already in use"),
    ("20_ray_runs_already.log", RAY_LOG, "port", "already running at 10.41.0.7:6379"),
    ("20_dashboard_port.log", RAY_LOG, "port", "127.0.0.1:8265"),
    ("22_xet.log", DOWNLOAD, "download", "CAS service error : IO Error: Timer expired"),
    ("22_half_a_file.log", ENGINE_LOG, "download", "MetadataIncompleteBuffer"),
    ("engine_down.log", VERSION, "engine", "Is the docker daemon running?"),
    ("nvidia_runtime.log", UNIT_JOURNAL, "nvidia-runtime", "[[gpu]]"),
    ("nvidia_runtime_broken.log", UNIT_JOURNAL, "nvidia-runtime", "libnvidia-ml.so.1"),
    ("gpu_no_driver.log", SMI, "gpu-present", "couldn't communicate"),
    ("gpu_driver_replaced.log", SMI, "gpu-present", "Driver/library version mismatch"),
    ("gpu_none_in_container.log", ENGINE_LOG, "gpu-present", "No CUDA GPUs are available"),
    ("gpu_driver_old.log", UNIT_JOURNAL, "gpu-driver", "cuda>=12.8"),
    ("gpu_driver_old_torch.log", ENGINE_LOG, "gpu-driver", "found version 11040"),
    ("gpu_driver_old_runtime.log", ENGINE_LOG, "gpu-driver", "insufficient"),
    ("gpu_xid.log", DMESG, "gpu-errors", "Xid (PCI:0000:3b:00): 79"),
    ("gpu_fallen.log", DMESG, "gpu-errors", "has fallen off the bus"),
    ("gpu_ecc.log", ENGINE_LOG, "gpu-errors", "uncorrectable ECC error"),
    ("gpu_handle.log", SMI, "gpu-errors", "GPU is lost"),
    ("gpu_taken.log", ENGINE_LOG, "gpu-idle", "12.31/79.11 GiB"),
    ("port_endpoint.log", ENDPOINT_JOURNAL, "port", "bind() to 0.0.0.0:8000 failed"),
    ("infiniband.log", ENGINE_LOG, "infiniband", "port error"),
    ("reach.log", RAY_LOG, "reach", "Failed to connect to GCS at address 10.41.0.7:6379"),
    ("storage_read_only.log", ENGINE_LOG, "storage-writable", "[Errno 30]"),
    ("storage_stale.log", ENGINE_LOG, "storage-writable", "[Errno 116]"),
    ("layout.log", ENGINE_LOG, "layout", "attention heads (9)"),
    ("layout_pipeline.log", ENGINE_LOG, "layout", "Pipeline parallelism is not supported"),
    ("model_unknown.log", ENGINE_LOG, "model-unknown", "Llama9ForCausalLM"),
    ("model_unknown_transformers.log", ENGINE_LOG, "model-unknown", "llama9"),
    ("model_gone.log", ENGINE_LOG, "model-unknown", "until v0.9.2"),
    ("flag_unknown.log", ENGINE_LOG, "flag", "--max-model-length"),
    ("flag_value.log", ENGINE_LOG, "flag", "argument --kv-cache-dtype"),
    ("worker_died.log", ENGINE_LOG, "engine-lost", "rank=[1] died"),
    ("worker_init.log", ENGINE_LOG, "engine-lost", "WorkerProc initialization failed"),
    ("ray_process_died.log", RAY_LOG, "engine-lost", "Some Ray subprocesses"),
]


@pytest.mark.parametrize(("name", "file", "cause", "shown"), CASES, ids=[case[0][:-4] for case in CASES])
def test_what_people_have_posted(name, file, cause, shown):
    files = on_head(text(name), file)
    first = diagnose(files, STATES)["first"]
    assert first["id"] == cause
    assert shown in first["evidence"]
    assert first["file"] == "%s/%s" % (HEAD, file)
    assert first["evidence"] in files[HEAD][file][first["line"] - 1]


def test_every_text_is_used():
    used = {case[0] for case in CASES} | {"18_socket.log"}
    assert used | {path.name for path in LOGS.glob("healthy_*")} == {path.name for path in LOGS.iterdir()}


@pytest.mark.parametrize(
    ("ports", "cause"),
    [
        pytest.param([], None, id="no-infiniband"),
        pytest.param([{"state": "1: DOWN", "link_layer": "InfiniBand"}], None, id="link-down"),
        pytest.param([{"state": "4: ACTIVE", "link_layer": "InfiniBand"}], "fabric", id="infiniband"),
    ],
)
def test_sockets_matter_only_where_there_is_something_better(ports, cause):
    states = {HEAD: state(HEAD, infiniband=ports), WORKER: state(WORKER)}
    first = diagnose(on_head(text("18_socket.log")), states)["first"]
    assert (first and first["id"]) == cause


def test_the_node_that_a_line_is_about():
    """Ray hands what its workers print to the engine's log on the head."""
    first = diagnose(on_head(text("19_out_of_memory.log")), STATES)["first"]
    assert (first["node"], first["file"], first["time"]) == (WORKER, "node00/onecc-vllm.log", "2026-11-25T10:05:00Z")


HEALTHY = [
    "(APIServer pid=899) INFO 11-25 10:05:02 [api_utils.py:347]  ▄▄ ▄█ █     █     █ ▀▄▀ █  version 0.32.0",
    "(APIServer pid=899) WARNING 11-25 10:05:02 [ray_utils.py:543] Tensor parallel size (16) exceeds available GPUs"
    " (8). This may result in Ray placement group allocation failures.",
    "(APIServer pid=899) INFO 11-25 10:05:02 [network_utils.py:248] Port 8000 is already in use, trying port 8001",
    "(EngineCore pid=919) WARNING 11-25 10:05:08 [parallel.py:746] Address already in use. Retrying with a new port.",
    "(EngineCore pid=919) INFO 11-25 10:06:08 [shm_broadcast.py:733] No available shared memory broadcast block found"
    " in 60 seconds. This typically happens when some processes are hanging or doing some time-consuming work.",
    "(APIServer pid=899) INFO:     Application startup complete.",
    '(APIServer pid=899) INFO:     10.0.0.1:51234 - "POST /v1/chat/completions HTTP/1.1" 200 OK',
]
FAILED = [
    "(APIServer pid=711) INFO 11-25 [api_utils.py:347]  █     █ ▀▄▀ █  version 0.32.0",
    *text("19_no_cache_blocks.log"),
]


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({ENGINE_LOG: stamped(HEALTHY)}, id="serving"),
        pytest.param({ENGINE_LOG: stamped(HEALTHY[:5])}, id="still-loading"),
        pytest.param({ENGINE_LOG: stamped(FAILED, START - 900) + stamped(HEALTHY)}, id="mended"),
        pytest.param(
            {
                ENGINE_LOG: stamped(HEALTHY),
                GCS: ["[2026-11-25 09:30:46,131 W 65 65] " + text("15_node_lost.log")[1][30:]],
            },
            id="node-lost-before-it-served",
        ),
        pytest.param(
            {ENGINE_LOG: stamped(HEALTHY), DMESG: text("16_kernel_memory.log")}, id="out-of-memory-before-it-served"
        ),
        pytest.param(
            {DMESG: ["2026-11-25T10:09:00,100002+00:00 NVRM: Xid (PCI:0000:3b:00): 43, pid=1, name=a"]}, id="xid"
        ),
        pytest.param(
            {
                RAY_LOG: stamped(
                    [*text("reach.log"), "2026-11-25 10:00:20,796\tSUCC scripts.py:1251 -- Ray runtime started."]
                )
            },
            id="worker-up-before-head",
        ),
        pytest.param({"mounts.txt": ["No space left on device"]}, id="no-log"),
        pytest.param({}, id="nothing"),
    ],
)
def test_no_false_alarm(files):
    result = diagnose({HEAD: files, WORKER: {}}, STATES)
    assert (result["first"], result["others"]) == (None, [])


@pytest.mark.parametrize("path", sorted(LOGS.glob("healthy_*")), ids=lambda path: path.stem)
def test_captured_from_a_healthy_cluster(path):
    """Each may stand in any log: none of its lines is evidence of anything."""
    for file in (ENGINE_LOG, RAY_LOG, RAYLET, "ray/worker-1.err"):
        assert diagnose({HEAD: {file: text(path.name)}}, {HEAD: state(HEAD)})["first"] is None


def journal(*starts):
    return [
        "%s node00 onecc-vllm[1592]: starting: the engine starts, an answer is awaited"
        % datetime.datetime.fromtimestamp(start, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S+00:00")
        for start in starts
    ]


OTHER = text("layout.log")
SILENT = ["(APIServer pid=9) INFO 11-25 [api_utils.py:347]  █     █ ▀▄▀ █  version 0.32.0"]


@pytest.mark.parametrize(
    ("parts", "cause"),
    [
        pytest.param([(FAILED, -600), (SILENT + OTHER, -300)], "layout", id="the-last"),
        pytest.param([(SILENT + OTHER, -600), (FAILED, -300)], "model-fit", id="the-last-the-other-way-round"),
        pytest.param([(FAILED, -600), (SILENT, -5)], "model-fit", id="the-next-says-nothing-yet"),
        pytest.param([(FAILED, -600), (HEALTHY, -300), (SILENT + OTHER, -100)], "layout", id="served-in-between"),
        pytest.param([(HEALTHY, -300), (SILENT, -5)], None, id="restarted-and-still-loading"),
    ],
)
@pytest.mark.parametrize("with_journal", [True, False], ids=["journal", "log-alone"])
def test_the_last_start_that_failed_counts(parts, cause, with_journal):
    files = {ENGINE_LOG: [line for lines, offset in parts for line in stamped(lines, START + offset)]}
    if with_journal:
        files[UNIT_JOURNAL] = journal(*(START + offset - 6 for _lines, offset in parts))
    first = diagnose({HEAD: files, WORKER: {}}, STATES)["first"]
    assert (first and first["id"]) == cause


PORT_TAKEN = text("port_endpoint.log")
PORT_FREE = ["2026-11-28T16:03:39+0000 node00 systemd[1]: Started onecc-endpoint.service - OpenAI-compatible endpoint."]


@pytest.mark.parametrize(
    ("lines", "since", "cause"),
    [
        (PORT_TAKEN, -60, "port"),
        (PORT_TAKEN + PORT_FREE, -60, None),
        # The engine was started after it: without systemd nobody says that the endpoint was.
        (PORT_TAKEN[2:4], 60, None),
    ],
)
def test_a_port_that_the_endpoint_cannot_have(lines, since, cause):
    start = datetime.datetime(2026, 11, 28, 16, 3, 36, tzinfo=datetime.timezone.utc).timestamp() + since
    files = {UNIT_JOURNAL: journal(start), ENDPOINT_JOURNAL: lines}
    first = diagnose({HEAD: files, WORKER: {}}, STATES)["first"]
    assert (first and first["id"]) == cause


def test_a_node_lost_while_serving_is_the_cause_of_all_that_follows():
    """The engine starts again after it, and waits for GPUs that are gone."""
    engine = stamped(HEALTHY, START) + stamped(text("worker_died.log"), START + 1600)
    engine += stamped(SILENT + text("03_too_few_gpus.log"), START + 1620)
    files = {
        HEAD: {
            ENGINE_LOG: engine,
            UNIT_JOURNAL: journal(START - 6, START + 1610),
            GCS: text("15_node_lost.log"),
        },
        WORKER: {},
    }
    result = diagnose(files, STATES)
    assert (result["first"]["id"], result["first"]["node"]) == ("node-lost", WORKER)
    assert {entry["id"] for entry in result["others"]} == {"gpu-count", "engine-lost"}
    # It came back before the engine was started again, so it is not what that lacks.
    alive = [
        {"address": address, "state": "ALIVE", "state_message": "", "is_head": False} for address in ADDRESSES.values()
    ]
    states = {**STATES, HEAD: state(HEAD, ray_nodes=alive)}
    assert diagnose(files, states)["first"]["id"] == "gpu-count"
    # The raylet that was given up says so too, in a file that outlives it, and names no address.
    files[WORKER] = {RAYLET: text("15_raylet_marked_dead.log")}
    written = {RAYLET: START + 1590}
    states[WORKER] = state(WORKER, containers={"onecc-ray": container()}, written=written)
    assert diagnose(files, states)["first"]["id"] == "gpu-count"
    states[HEAD] = state(HEAD, ray_nodes=alive[:1])
    assert diagnose(files, states)["first"]["id"] == "node-lost"


def test_a_worker_that_never_joined():
    """The engine only knows that GPUs are missing; the worker knows why."""
    files = {
        HEAD: {ENGINE_LOG: stamped(SILENT + text("03_too_few_gpus.log"))},
        WORKER: {RAY_LOG: stamped(text("06_versions_differ.log") * 3, START - 300, 5)},
    }
    first = diagnose(files, STATES)["first"]
    assert (first["id"], first["node"], first["file"]) == ("image-same", WORKER, "node01/onecc-ray.log")


def test_ray_that_failed_before_and_runs_now():
    good = ["2026-11-25 10:00:01,338\tINFO scripts.py:1043 -- Local node IP: 10.41.0.8", "-- Ray runtime started."]
    files = {WORKER: {RAY_LOG: stamped(text("06_versions_differ.log"), START - 300) + stamped(good, START)}}
    assert diagnose(files, STATES)["first"] is None


def test_old_logs_of_workers():
    """Ray keeps the files of every engine there was; those without times are as old as their last byte."""
    files = {
        HEAD: {
            ENGINE_LOG: stamped(SILENT + OTHER),
            "ray/worker-1.err": text("gpu_ecc.log"),
        }
    }
    old = state(HEAD, written={"ray/worker-1.err": START - 3600})
    new = state(HEAD, written={"ray/worker-1.err": START + 1})
    assert {entry["id"] for entry in diagnose(files, {HEAD: old})["others"]} == set()
    assert {entry["id"] for entry in diagnose(files, {HEAD: new})["others"]} == {"gpu-errors"}


NO_RAY = (
    "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed:"
    ' unable to start container process: exec: "ray": executable file not found in $PATH: unknown'
)
RAY_NODES = [{"address": "10.41.0.7", "state": "ALIVE", "state_message": "", "is_head": True}]
DEAD = {"address": "10.41.0.8", "state": "DEAD", "state_message": "health check failed", "is_head": False}


@pytest.mark.parametrize(
    ("changes", "cause", "node", "shown"),
    [
        pytest.param(
            {WORKER: {"containers": {"onecc-ray": container("created", error=NO_RAY)}}},
            "image-ray",
            WORKER,
            "onecc-ray: failed to create task",
            id="error-of-the-container",
        ),
        pytest.param(
            {WORKER: {"containers": {"onecc-ray": container("exited", oom_killed=True, exit_code=137)}}},
            "memory",
            WORKER,
            "ran out of memory",
            id="out-of-memory",
        ),
        pytest.param(
            {WORKER: {"containers": {"onecc-ray": container("exited", exit_code=137)}}},
            "node-lost",
            WORKER,
            "onecc-ray has ended with status 137",
            id="ray-has-ended",
        ),
        pytest.param(
            {HEAD: {"disks": [{"mount": "/", "used_percent": 97, "free_kib": 9}]}},
            "disk",
            HEAD,
            "/ is 97% full",
            id="disk",
        ),
        pytest.param(
            {WORKER: {"engine": {"version": "", "error": "docker version did not end"}}},
            "engine",
            WORKER,
            "did not end",
            id="engine",
        ),
        pytest.param(
            {HEAD: {"ray_nodes": RAY_NODES}, WORKER: {"containers": {"onecc-ray": container()}}},
            "node-lost",
            WORKER,
            "no living node of Ray has the address 10.41.0.8",
            id="not-in-ray",
        ),
        pytest.param(
            {
                HEAD: {
                    "disks": [{"mount": "/", "used_percent": 94, "free_kib": 9}],
                    "containers": {"onecc-ray": container()},
                }
            },
            None,
            None,
            None,
            id="all-well",
        ),
        pytest.param(
            {
                HEAD: {"ray_nodes": [*RAY_NODES, DEAD, dict(DEAD, state="ALIVE")]},
                WORKER: {"containers": {"onecc-ray": container()}},
            },
            None,
            None,
            None,
            id="left-and-came-back",
        ),
        pytest.param({WORKER: {"containers": {"onecc-ray": None}}}, None, None, None, id="never-deployed"),
    ],
)
def test_states(changes, cause, node, shown):
    states = {name: state(name, **changes.get(name, {})) for name in (HEAD, WORKER)}
    first = diagnose({HEAD: {}, WORKER: {}}, states)["first"]
    if cause is None:
        assert first is None
    else:
        assert (first["id"], first["node"], first["line"]) == (cause, node, 0)
        assert shown in first["evidence"]


@pytest.mark.parametrize(
    ("ray_nodes", "cause"),
    [
        pytest.param(None, "ssh", id="ray-did-not-tell"),
        pytest.param(RAY_NODES, "ssh", id="ray-never-knew-it"),
        pytest.param([*RAY_NODES, DEAD], "node-lost", id="ray-has-lost-it"),
        # It left once and came back; now only SSH does not get there.
        pytest.param([*RAY_NODES, DEAD, dict(DEAD, state="ALIVE")], "ssh", id="alive-to-ray"),
    ],
)
def test_a_node_that_cannot_be_reached(ray_nodes, cause):
    files = {HEAD: {ENGINE_LOG: stamped(SILENT + text("03_too_few_gpus.log"))}}
    why = {WORKER: "Failed to connect to the host via ssh: Connection timed out"}
    result = diagnose(files, {HEAD: state(HEAD, ray_nodes=ray_nodes)}, why)
    assert (result["first"]["id"], result["first"]["node"], result["first"]["evidence"]) == (cause, WORKER, why[WORKER])
    assert result["notes"] == ["node01 could not be reached"]


def test_a_node_that_could_not_be_collected_from_is_no_cause():
    result = diagnose({HEAD: {}}, {HEAD: state(HEAD)}, failed={WORKER: "no python"})
    assert (result["first"], result["notes"]) == (None, ["node01: nothing could be collected: no python"])


UNKNOWN = [
    *SILENT,
    "(EngineCore pid=919) ERROR 11-25 10:05:19 [core.py:1201] Traceback (most recent call last):",
    "(EngineCore pid=919) ERROR 11-25 10:05:19 [core.py:1201] torch._inductor.exc.InductorError: no kernel for that",
    "(APIServer pid=899) Traceback (most recent call last):",
    "(APIServer pid=899) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s):",
]


def test_what_nobody_knows_is_said_so():
    """The last exception is the wrapping of another."""
    result = diagnose(on_head(UNKNOWN), STATES)
    assert (result["first"]["id"], result["error"]) == (
        "engine-lost",
        "torch._inductor.exc.InductorError: no kernel for that",
    )
    assert "The engine's last error: torch._inductor.exc.InductorError: no kernel for that" in summary(result)
    result = diagnose(on_head(UNKNOWN[:3]), STATES)
    assert result["first"] is None
    assert summary(result, "/home/ubuntu/a.tar.gz") == [
        "No known cause was found in what the nodes have left.",
        "The engine's last error: torch._inductor.exc.InductorError: no kernel for that",
        "All evidence: /home/ubuntu/a.tar.gz",
    ]


@pytest.mark.parametrize(
    ("files", "last"),
    [
        pytest.param({}, "There is no log of the engine.", id="no-log"),
        pytest.param({ENGINE_LOG: ["one", "two"]}, "  two", id="no-exception"),
    ],
)
def test_summary_of_nothing(files, last):
    assert summary(diagnose({HEAD: files}, {}))[-1] == last


def test_summary():
    states = {HEAD: state(HEAD, timed_out=["nvidia-smi.txt"], left_out=["ray/worker-9.out"]), WORKER: state(WORKER)}
    assert summary(diagnose(on_head(text("19_out_of_memory.log")), states), "/home/ubuntu/a.tar.gz") == [
        "What went wrong: the model does not fit the GPUs (model-fit), on node01.",
        "Evidence: %s" % stamped(text("19_out_of_memory.log"))[0],
        "  in node00/onecc-vllm.log:1",
        "What to do: %s" % diagnosis.BY_ID["model-fit"].remedy,
        "Also found: engine-lost (node00)",
        "Note: node00: nvidia-smi.txt did not come in time",
        "Note: node00: no room for ray/worker-9.out",
        "All evidence: /home/ubuntu/a.tar.gz",
    ]


@pytest.mark.parametrize(
    ("line", "time"),
    [
        pytest.param("2026-11-25T10:05:00.250000000Z (APIServer pid=1) x", START + 0.25, id="docker"),
        pytest.param("2026-11-25T11:05:00+0100 node00 systemd[1]: x", START, id="journal"),
        pytest.param("2026-11-25T10:05:00+00:00 node00 systemd[1]: x", START, id="newer-journal"),
        pytest.param("2026-11-25T10:05:00,250000+00:00 NVRM: x", START + 0.25, id="dmesg"),
        pytest.param("[2026-11-25 10:05:00,250 I 302 302] (raylet) x", START + 0.25, id="ray"),
        pytest.param("2026-11-25 10:05:00,250\tINFO worker.py:1 -- x", START + 0.25, id="ray-python"),
        pytest.param("(Worker pid=3) INFO 11-25 10:05:00 [a.py:1] x", START, id="vllm"),
        pytest.param("[2026-13-45 10:05:00,250 I 302 302] x", None, id="no-date"),
        pytest.param("Traceback (most recent call last):", None, id="none"),
    ],
)
def test_parse_time(line, time):
    assert diagnosis.parse_time(line, 2026) == time


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        pytest.param("OSError: [Errno 28] No space left on device: '/dev/shm/a'", "shm", id="more-of-the-line"),
        pytest.param("OSError: [Errno 28] No space left on device: '/tmp/a'", "disk", id="the-general-one"),
        pytest.param("Python patch version mismatch: The cluster was started with:", None, id="a-warning"),
        pytest.param(
            "(raylet) 0 Workers (tasks / actors) killed due to memory pressure (OOM), 1 Workers", None, id="none-killed"
        ),
    ],
)
def test_match_cause(line, cause):
    found = diagnosis.match_cause(line)
    assert (found and found.id) == cause


def archive(path, entries):
    with tarfile.open(path, "w:gz") as tar:
        for name, data, kind in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.size, entry.linkname = kind, len(data), "/etc/passwd"
            tar.addfile(entry, io.BytesIO(data))
    return str(path)


def test_unpack_takes_files_alone(tmp_path):
    path = archive(
        tmp_path / "a.tar.gz",
        [
            ("./ray/raylet.out", b"\xff1\n", tarfile.REGTYPE),
            ("/etc/shadow", b"2", tarfile.REGTYPE),
            ("../up", b"3", tarfile.REGTYPE),
            ("link", b"", tarfile.SYMTYPE),
        ],
    )
    assert diagnosis.unpack(path, 100) == {"ray/raylet.out": "\ufffd1\n"}
    with pytest.raises(OneccError, match="expected at most 2 bytes"):
        diagnosis.unpack(path, 2)


def test_unpack_of_something_else(tmp_path):
    (tmp_path / "a.tar.gz").write_text("no archive")
    with pytest.raises(OneccError, match="expected an archive of evidence"):
        diagnosis.unpack(str(tmp_path / "a.tar.gz"), 100)
