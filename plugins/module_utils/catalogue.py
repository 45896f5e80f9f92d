# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong for people who serve a model over several nodes: the one list of it.

The preflight refuses a cause before anything is changed, the diagnosis names it from what a failed
deployment has left. Both know a cause by the same id, which never changes its meaning.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Cause:
    """One thing that goes wrong.

    :param id: its name for settings, tables and JSON
    :param title: what is checked, in a few words
    :param problem: what is the matter when it is not so
    :param remedy: what the reader can do
    :param patterns: regular expressions; a line of a log that one of them matches is evidence
    :param source: where the text of the patterns was seen, such as an issue of a project
    :param symptom: whether its lines often are the consequence of another cause, which is then named instead
    """

    id: str
    title: str
    problem: str
    remedy: str
    patterns: tuple = ()
    source: str = ""
    symptom: bool = False


CAUSES = [
    # The way to the nodes, and what they run.
    Cause(
        "ssh",
        "node answers over SSH",
        "a node does not answer over SSH",
        "Start the node, or correct ansible_host, ansible_user and the key; ssh to it by hand tells more.",
    ),
    Cause(
        "sudo",
        "root without a password",
        "the user cannot become root without a password",
        "Let the user run sudo without a password on the node, or give ansible_become_password; or do without root, "
        "see the page on running without containers.",
    ),
    Cause(
        "state-dir",
        "folder of the node's own",
        "cluster_state_dir is not for the collection alone",
        "Set cluster_state_dir to a folder on each node's own disk that is not there yet, or that the user who deploys "
        "has made for nothing else: secrets lie in it, and teardown removes all of it.",
    ),
    Cause(
        "os",
        "system that was tried",
        "a system that was not tried",
        "Ubuntu 22.04 or 24.04 and Debian 12 or 13 are what this collection is made for. Where systemd is not the "
        "init, as in containers that are used as machines, set cluster_runtime to venv.",
    ),
    Cause(
        "clock",
        "clocks agree",
        "the nodes' clocks differ",
        "Run a time service on every node (chrony or systemd-timesyncd).",
    ),
    # Engine and image, and what stands for them.
    Cause(
        "runtime",
        "no deployment with another cluster_runtime",
        "a node runs what was deployed with another cluster_runtime",
        "Take that down first (playbook teardown, which keeps weights and images), or set cluster_runtime to it.",
    ),
    Cause(
        "python",
        "same Python on every node",
        "the nodes have no Python in common",
        "Set cluster_venv_python to one that every node has at the same path in the same version, or install it.",
    ),
    Cause(
        "engine",
        "container engine answers",
        "the container engine does not answer",
        "Start it (systemctl start docker) and read journalctl -u docker; it is installed where it is missing.",
        (r"Cannot connect to the Docker daemon",),
        "Docker's client",
    ),
    Cause(
        "nvidia-runtime",
        "engine gives GPUs to containers",
        "the engine gives no GPUs to containers",
        "Install the NVIDIA container toolkit, run nvidia-ctk runtime configure --runtime=docker, restart Docker.",
        (
            r"could not select device driver .* with capabilities: \[\[gpu\]\]",
            r"nvidia-container-cli: initialization error",
        ),
        "moby/moby, NVIDIA/nvidia-container-toolkit",
    ),
    Cause(
        "image-same",
        "same image on every node",
        "the nodes have different images",
        "Remove the image where it differs (docker image rm -f NAME) and deploy again.",
        # With a capital: "Python patch version mismatch" is a warning.
        (r"\bVersion mismatch: The cluster was started with",),
        "gpustack #2691; ray, _private/utils.py",
    ),
    Cause(
        "image-ray",
        "image holds Ray",
        "the image holds no Ray",
        "Leave cluster_image empty so that one with Ray is made, or add ray[default] to yours.",
        (r'"ray": executable file not found', r"ray: command not found", r"exec ray failed: No such file"),
        "vllm #33445, gpustack #5430",
    ),
    # GPUs.
    Cause(
        "gpu-present",
        "node has GPUs",
        "a node offers no GPU",
        "Install the NVIDIA driver, take the node out of the inventory, or set cluster_gpus_per_node.",
        (
            r"Current node has no GPU available",
            r"Failed to initialize NVML",
            r"No CUDA GPUs are available",
            r"NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver",
        ),
        "vllm #13093, v1/executor/ray_utils.py",
    ),
    Cause(
        "gpu-equal",
        "same GPUs on every node",
        "the nodes have different GPUs",
        "Take the nodes that differ out of the inventory, or set cluster_gpus_per_node to what all have.",
    ),
    Cause(
        "gpu-driver",
        "driver is new enough for the image",
        "the NVIDIA driver is too old for the image",
        "Install a newer NVIDIA driver, or choose an image made for an older CUDA.",
        (
            r"CUDA driver version is insufficient for CUDA runtime version",
            r"The NVIDIA driver on your system is too old",
            r"nvidia-container-cli: requirement error: unsatisfied condition: cuda",
        ),
        "PyTorch, NVIDIA/nvidia-container-toolkit",
    ),
    Cause(
        "gpu-errors",
        "no GPU errors",
        "a GPU reports errors",
        "Reset the GPU or reboot the node; if it comes back, have the GPU replaced. NVIDIA's Xid catalogue tells more.",
        # 13, 31, 43 and 45 come from the application, or follow from its end; 63 tells of a repair.
        (
            r"NVRM: Xid \([^)]*\): (?!(13|31|43|45|63)\b)\d+",
            r"CUDA error: uncorrectable ECC error",
            r"GPU has fallen off the bus",
            r"Unable to determine the device handle for (gpu|GPU)",
        ),
        "NVIDIA's Xid documentation",
    ),
    Cause(
        "gpu-idle",
        "nothing else holds GPU memory",
        "something else holds GPU memory",
        "End those processes; a former engine goes with the teardown playbook.",
        (r"Free memory on device .* on startup is less than (desired GPU memory utilization|the engine's budget)",),
        "vllm, vllm/v1/worker/utils.py",
    ),
    Cause(
        "gpu-count",
        "GPUs for the layout",
        "too few GPUs for the layout",
        "Lower vllm_serve_tensor_parallel_size or vllm_serve_pipeline_parallel_size, or add nodes.",
        # Not "Tensor parallel size (N) exceeds available GPUs": any engine over several nodes prints that.
        (
            r"The number of required GPUs exceeds the total number of available GPUs",
            r"Cannot provide a placement group",
        ),
        "vllm #13388, v1/executor/ray_utils.py",
        symptom=True,
    ),
    Cause(
        "executor",
        "engine knows of all nodes",
        "the engine was not told to use Ray",
        "Let Ray run the engine: take distributed-executor-backend out of vllm_serve_args.",
        (r"World size \(\d+\) is larger than the number of available GPUs \(\d+\) in this node",),
        "vllm #27823, vllm/config/parallel.py",
    ),
    # The network between the nodes.
    Cause(
        "address",
        "address on the cluster's interface",
        "a node's address is not the one that Ray knows",
        "Set cluster_interface to the interface of the network between the nodes, or cluster_address to the node's"
        " address there; take VLLM_HOST_IP out of cluster_container_env and vllm_serve_env.",
        (r"No available node types can fulfill resource request.*'node:",),
        "vllm #7815, #13388",
    ),
    Cause(
        "address-unique",
        "one address for each node",
        "nodes share an address",
        "Give every node its own cluster_address; take VLLM_HOST_IP out of cluster_container_env and vllm_serve_env.",
        (r"Every node should have a unique IP address",),
        "vllm #7699, v1/executor/ray_executor.py",
    ),
    Cause(
        "interface",
        "interfaces are named right",
        "an interface has another name than was given",
        "Set cluster_interface for the node; take GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME out of"
        " cluster_container_env.",
        (
            r"Gloo connectFullMesh failed",
            r"Unable to find address for",
            r"Bootstrap ?: no socket interface found",
            r"Bootstrap ?: no NCCL_SOCKET_IFNAME interface found",
            r"ncclSocketInit: connecting to address .*is neither AF_INET",
        ),
        "vllm #7074, NVIDIA/nccl #1837 and #1267",
    ),
    Cause(
        "mtu",
        "same MTU on every node",
        "the nodes have different MTUs",
        "Set the same MTU on the cluster's interface of every node (ip link set dev NAME mtu N).",
    ),
    Cause(
        "reach",
        "every node reaches every node",
        "a node does not reach another",
        "Allow all TCP between the nodes: security group, firewall of the host, routing of the interface.",
        (r"Unable to connect to GCS", r"Failed to connect to GCS"),
        "ray",
        symptom=True,
    ),
    Cause(
        "port",
        "ports are free",
        "a port is taken",
        "End what listens there, or choose another port: cluster_ray_port, cluster_dashboard_port, endpoint_port,"
        " vllm_serve_ready_port.",
        # vLLM tries another port for itself where it can, and says so.
        (
            r"[Aa]ddress already in use(?!\. Retrying)",
            r"error while attempting to bind on address .*in use",
            r"Ray is trying to start at \S+, but is already running",
            r"Failed to bind to \S+ because it's already occupied",
        ),
        "vllm #7514; ray, _private/services.py and scripts/scripts.py",
    ),
    Cause(
        "infiniband",
        "InfiniBand links are up",
        "an InfiniBand link is down",
        "Bring the port up (ibstat, dmesg), or take the adapter out of cluster_nccl_ib_hca.",
        (r"NET/IB : .*Got async (error )?event ?: port error",),
        "NVIDIA/nccl",
    ),
    Cause(
        "memlock",
        "memory can be locked for InfiniBand",
        "memory cannot be locked for InfiniBand",
        "Keep CAP_IPC_LOCK in cluster_container_capabilities and memlock:-1:-1 in cluster_container_ulimits.",
        (
            r"ibv_reg_mr(_iova2?)? failed with error Cannot allocate memory",
            r"ibv_create_(qp|cq) failed with error Cannot allocate memory",
        ),
        "vllm #10626, NVIDIA/nccl-tests #206, NVIDIA/nccl #1191",
    ),
    Cause(
        "fabric",
        "measured all-reduce",
        "the network between the nodes is slow",
        "See that NCCL uses InfiniBand (cluster_nccl_ib_hca, /dev/infiniband) or the fast interface"
        " (cluster_interface), and that no link runs below its rate.",
        (r"NCCL INFO .*Using network Socket",),
        "vllm's documentation, parallelism and scaling",
        symptom=True,
    ),
    # Storage and memory of the node.
    Cause(
        "storage-shared",
        "shared folder is the same everywhere",
        "the shared folder differs between nodes",
        "Mount the same file system at cluster_shared_dir on every node.",
        (r"Failed to get file list for", r"expected the file that .* names, found nothing"),
        "dynamo #4941",
    ),
    Cause(
        "storage-writable",
        "shared folder can be written to",
        "the shared folder cannot be written to",
        "Mount the shared file system for writing and let root write to it, or set cluster_shared_dir.",
        (r"Read-only file system", r"Stale file handle"),
        "Linux",
    ),
    Cause(
        "storage-rate",
        "shared storage is fast enough",
        "shared storage is slow",
        "Ask the provider for faster storage, or expect the load to take this long and raise vllm_serve_timeout.",
    ),
    Cause(
        "disk",
        "space on the node's disks",
        "a disk of the node is full",
        "Free space on that file system, or move cluster_state_dir, or the engine's data folder, to a larger one.",
        (r"is over \d+% full, available space", r"No space left on device", r"Disk quota exceeded"),
        "ray #3568, Linux",
    ),
    Cause(
        "shm",
        "/dev/shm of the containers",
        "/dev/shm of the containers is too small",
        "Raise cluster_container_shm_size; it must not exceed the memory of the node. Without containers the node's own"
        " counts (mount -o remount,size=16G /dev/shm).",
        (
            r"Error while creating shared memory segment /dev/shm",
            r"/dev/shm.*No space left on device",
            r"No space left on device.*/dev/shm",
        ),
        "vllm #6574, #4383",
    ),
    Cause(
        "memory",
        "memory of the node",
        "a node ran out of memory",
        "Lower cluster_object_store_memory and what else runs on the node, or take nodes with more memory; Ray's own"
        " threshold is RAY_memory_usage_threshold.",
        (
            r"[1-9]\d* Workers \(tasks / actors\) killed due to memory pressure \(OOM\)",
            r"killed due to the node running low on memory",
            r"Out of memory: Killed process",
            r"Memory cgroup out of memory: Killed process",
            r"oom-kill:constraint",
        ),
        "vllm #1160, #2669; ray 2.60; Linux",
    ),
    # The model.
    Cause(
        "model",
        "model is there and fits",
        "the model cannot be served",
        "Correct what the sentence names; the playbooks onecc.vllm.plan and onecc.vllm.download tell more.",
    ),
    Cause(
        "hub-token",
        "token may read the model",
        "the token may not read the model",
        "Accept the licence on the model's page and give a token of that account (HF_TOKEN).",
        (r"\b40[13] Client Error", r"Cannot access gated repo", r"GatedRepoError"),
        "ray #54812",
    ),
    Cause(
        "download",
        "download is whole",
        "a file of the model is not whole",
        "Run the playbook onecc.vllm.download; it goes on with what is there and names what is wrong.",
        (r"Error while deserializing header", r"SafetensorError", r"Data processing error: CAS service error"),
        "vllm #49830, gpustack #815, huggingface/xet-core #444",
    ),
    Cause(
        "layout",
        "model divides by the layout",
        "the model does not divide by the layout",
        "Choose sizes that divide its heads and layers, or set both sizes to auto; the playbook onecc.vllm.plan lists"
        " them.",
        (
            r"must be divisible by tensor parallel size",
            r"Pipeline parallelism is not supported for this model",
        ),
        "vllm, vllm/config/model.py",
    ),
    Cause(
        "model-fit",
        "model fits the GPUs",
        "the model does not fit the GPUs",
        "Take more GPUs, a quantised model, a smaller max-model-len or a higher gpu-memory-utilization; the playbook"
        " onecc.vllm.plan computes what fits.",
        (
            r"CUDA out of memory",
            r"torch\.(cuda\.)?OutOfMemoryError",
            r"No available memory for the cache blocks",
            r"is larger than the maximum number of tokens that can be stored in KV cache",
            r"KV\s+cache is needed, which is larger than the available KV cache",
        ),
        "vllm #6746, v1/core/kv_cache_utils.py",
    ),
    Cause(
        "model-unknown",
        "vLLM knows the model",
        "this vLLM does not know the model",
        "Choose a newer cluster_base_image, or a model that vLLM's list of supported models has.",
        (
            r"Model architectures \[.*\] (are not supported for now|failed to be inspected)",
            r"Model architecture \S+ (was supported in vLLM until|is not supported in-tree anymore)",
            r"does not recognize this architecture",
        ),
        "vllm, vllm/model_executor/models/registry.py",
    ),
    Cause(
        "flag",
        "vLLM knows its flags",
        "vLLM does not know a flag, or not its value",
        "Correct vllm_serve_args; vllm serve --help lists them.",
        (r"error: unrecognized arguments", r"error: argument --\S+: "),
        "argparse",
    ),
    # What happens while it serves.
    Cause(
        "ray-channel",
        "Ray executor keeps up",
        "the Ray executor of this vLLM stalls",
        "Choose a newer cluster_base_image: newer executors of vLLM do without compiled graphs.",
        (r"RayChannelTimeoutError",),
        "vllm #29373",
        symptom=True,
    ),
    Cause(
        "node-lost",
        "every node is in the Ray cluster",
        "a node is lost to the Ray cluster",
        "Bring the node back (power, network, its service onecc-ray), or take it out of the inventory and deploy.",
        (
            r"marked dead because the detector has missed too many heartbeats",
            r"mistakenly been marked as dead by the GCS",
        ),
        "ray #15128, #44680, #54035; vllm #53157",
    ),
    Cause(
        "engine-hangs",
        "completions are answered",
        "completions hang",
        "Restart the engine (playbook restart).",
        (
            r"EngineDeadError",
            r"RPC call to .* timed out",
            r"No available shared memory broadcast block found in \d+ second",
        ),
        "vllm #16259; vllm, distributed/device_communicators/shm_broadcast.py",
        symptom=True,
    ),
    Cause(
        "engine-lost",
        "engine's processes live",
        "a process of the engine ended",
        "Read the lines before this one; a process of the engine ended.",
        (
            r"Engine core initialization failed",
            r"ActorDiedError",
            r"WorkerProc initialization failed",
            r"RayWorkerProc rank=\S+ died unexpectedly",
            r"Some Ray subprocesses exited unexpectedly",
        ),
        "vllm, v1/engine/utils.py and v1/executor; ray, scripts/scripts.py",
        symptom=True,
    ),
]

BY_ID = {cause.id: cause for cause in CAUSES}
