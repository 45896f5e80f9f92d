# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a cluster is fit to serve: judges what was read from its nodes. Reads nothing itself.

A node is a dictionary:

- name, role ("head" or "worker"), error (why it could not be read, else empty)
- node: what the module node_info returned
- address, interface: of the network between the nodes
- gpus: how many Ray shall use
- ports: dictionary from port to what it is for, those that must be free
- container: how containers are run: shm_size and object_store in bytes, memlock, ipc_lock and privileged as booleans,
  hca (the beginning of adapters' names), env (what the user sets for them), image (its name), runtime (docker, or venv
  for processes without containers, which use an environment on shared storage)
- state_dir: what the collection keeps on the node; firewall: whether the rules of the role firewall are to be there;
  packages: dictionary from what has to be installed to a file by which it is known to be
- shared_dir, proof_error (why the head could not make a file there, else empty)
- model: error (why it cannot be served, else empty), told (what it is), load_bytes (what a node reads to load it); None
  when it was not looked at
- calls: what peer_check returned; rate: what storage_rate returned, rate_error: why it did not; fabric: what the
  all-reduce told of the node;
  None when not measured
"""

from __future__ import annotations

import ipaddress
import re

from .catalogue import BY_ID
from .gpu import NO_COMMAND
from .progress import human

OK, WARN, FAIL, SKIP = "ok", "warn", "fail", "skip"
CLUSTER = "all"

SYSTEMS = {"ubuntu": ["22.04", "24.04"], "debian": ["12", "13"]}
MACHINES = ["x86_64", "aarch64"]
# Set by the collection, for each node; a value that is the same for all breaks it.
ADDRESS_VARIABLE = "VLLM_HOST_IP"
INTERFACE_VARIABLES = ["GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "TP_SOCKET_IFNAME"]
# Each of NCCL's ranks and vLLM's queues keeps something there; the largest is vLLM's queue for each engine: ten
# chunks of 24 MiB (vllm, vllm/distributed/device_communicators/shm_broadcast.py).
SHM_FOR_EACH_GPU = 256 << 20
# A driver that is idle and a display may hold this much of a GPU.
GPU_IDLE_MIB = 1024
CLOCK_SECONDS = 1.0
# Where nodes may see the same folder.
NETWORK_FILE_SYSTEMS = ("nfs", "lustre", "gpfs", "beegfs", "ceph", "cifs", "smb", "9p", "afs", "wekafs", "fuse.")


class UnknownCheck(ValueError):
    """A check that is to be skipped, and that there is none of."""


def row(ident, name, result, found, expected=""):
    """A line of the table."""
    cause = BY_ID[ident]
    return {
        "id": ident,
        "check": cause.title,
        "node": name,
        "result": result,
        "found": found,
        "expected": expected,
        "remedy": cause.remedy if result in (WARN, FAIL) else "",
    }


def judge(nodes, limits, skip=()):
    """All rows: first those of each node, then those that compare nodes.

    :param nodes: list of nodes as above
    :param limits: dictionary with disk and image_disk (bytes that must be free, image_disk where the engine keeps
        images and lacks ours), disk_percent (how much may be used), storage_rate (bytes per second), fabric_gb_s (bus
        bandwidth; None: by what the nodes have)
    :param skip: ids of checks that are not made
    :return: list of dictionaries with id, check, node, result, found, expected, remedy
    :raises UnknownCheck: when skip holds an id that is none
    """
    unknown = sorted(set(skip) - set(BY_ID))
    if unknown:
        raise UnknownCheck("no checks with these ids: %s" % ", ".join(unknown))
    known = [node for node in nodes if not node["error"]]
    rows = []
    for node in nodes:
        if node["error"]:
            rows.append(unread(node))
        else:
            rows.append(row("ssh", node["name"], OK, "answers"))
            for check in NODE_CHECKS:
                rows += check(node, limits)
    if known:
        for check in CLUSTER_CHECKS:
            rows += check(known, limits)
    for each in rows:
        if each["id"] in skip:
            each.update(result=SKIP, remedy="")
    return rows


def unread(node):
    """A node that does not answer, or does not let its user be root."""
    words = node["error"]
    sudo = any(word in words.lower() for word in ("sudo", "become", "password is required", "privilege escalation"))
    return row("sudo" if sudo else "ssh", node["name"], FAIL, words, "root without a password" if sudo else "an answer")


def check_root(node, _limits):
    """What only root can do has to be done, or not to be wanted, where tasks are a user's."""
    here = node["node"]
    if here["root"]:
        return [row("sudo", node["name"], OK, "root")]
    wanted = [] if without_containers(node) else ["cluster_runtime venv"]
    wanted += ["firewall_enabled false"] if node["firewall"] else []
    missing = sorted(package for package, path in node["packages"].items() if not here["paths"].get(path))
    missing += [] if here["python_venv"] else ["python3-venv"]
    wanted += ["%s installed" % " and ".join(missing)] if missing else []
    words = "root, or without it %s" % ", ".join(wanted)
    return [row("sudo", node["name"], FAIL if wanted else OK, "the user %s" % here["user"], words if wanted else "")]


def check_state(node, _limits):
    """What the collection keeps on a node is the node's, its user's, and goes as a whole."""
    name, folder, user, state = node["name"], node["state_dir"], node["node"]["user"], node["node"]["state"]
    on = "on %s" % state["fstype"]
    far = not node["node"]["root"] and state["fstype"].startswith(NETWORK_FILE_SYSTEMS)
    if not state["usable"]:
        found = "somebody else's" if state["exists"] else "none, and no right to make it"
        return [row("state-dir", name, FAIL, found, "a folder %s of the user %s" % (folder, user))]
    if far or (folder + "/").startswith(node["shared_dir"].rstrip("/") + "/"):
        return [row("state-dir", name, FAIL, on, "%s on the node's own disk" % folder)]
    if state["foreign"]:
        return [row("state-dir", name, FAIL, "other things in it", "%s for the collection alone" % folder)]
    return [row("state-dir", name, OK, on)]


def check_os(node, _limits):
    system = node["node"]["os"]
    name = "%s, %s, Linux %s" % (system["name"], system["machine"], node["node"]["kernel"])
    if system["machine"] not in MACHINES:
        return [row("os", node["name"], FAIL, name, " or ".join(MACHINES))]
    if not system["systemd"] and not without_containers(node):
        wanted = "systemd as the init, or cluster_runtime venv"
        return [row("os", node["name"], FAIL, name + ", without systemd", wanted)]
    if system["version"] not in SYSTEMS.get(system["id"], []):
        return [row("os", node["name"], WARN, name, "Ubuntu 22.04 or 24.04, Debian 12 or 13")]
    return [row("os", node["name"], OK, name)]


def without_containers(node):
    return node["container"]["runtime"] == "venv"


def check_runtime(node, _limits):
    """What runs in containers cannot become what runs without, or the other way round, by a deployment."""
    wanted, found = node["container"]["runtime"], node["node"]["runtime"]
    if found in ("", wanted):
        return []
    words = "no deployment with another cluster_runtime than %s" % wanted
    return [row("runtime", node["name"], FAIL, "one with %s" % found, words)]


def check_engine(node, _limits):
    if without_containers(node):
        return [row("engine", node["name"], OK, "not needed: cluster_runtime is venv")]
    engine = node["node"]["engine"]
    if engine["version"]:
        return [row("engine", node["name"], OK, "Docker %s" % engine["version"])]
    # The deployment installs and starts it.
    return [row("engine", node["name"], OK, "not yet: %s" % engine["error"])]


def check_gpus(node, _limits):
    here, found = node["node"], node["node"]["gpus"]
    name, rows = node["name"], []
    if node["gpus"] < 1:
        why = here["gpu_error"] or "nvidia-smi lists none"
        return [row("gpu-present", name, FAIL, "none (%s)" % why, "at least one GPU")]
    if not found and here["gpu_error"] not in ("", NO_COMMAND):
        return [row("gpu-present", name, FAIL, here["gpu_error"], "a driver that tells of %d GPUs" % node["gpus"])]
    if found and node["gpus"] > len(found):
        return [row("gpu-present", name, FAIL, "%d" % len(found), "%d, as cluster_gpus_per_node says" % node["gpus"])]
    what = "%d x %s" % (len(found), found[0]["name"]) if found else "none: %d by cluster_gpus_per_node" % node["gpus"]
    rows.append(row("gpu-present", name, OK, what))
    if not found:
        return rows
    engine = here["engine"]
    if engine["version"] and not without_containers(node):
        able = "nvidia" in engine["runtimes"] or engine["gpu_hook"]
        words = "NVIDIA's" if able else ", ".join(engine["runtimes"])
        rows.append(row("nvidia-runtime", name, OK if able else FAIL, words, "NVIDIA's runtime"))
    rows.append(driver(node))
    wrong = ["GPU %d: %s" % (gpu["index"], error) for gpu in found for error in gpu["errors"]]
    if wrong:
        rows.append(row("gpu-errors", name, FAIL, "; ".join(wrong), "none"))
    elif here["xids"]:
        rows.append(row("gpu-errors", name, WARN, here["xids"][-1], "no Xid in the kernel's log"))
    else:
        rows.append(row("gpu-errors", name, OK, "none" if here["root"] else "none that the user may see"))
    rows.append(idle(node))
    return rows


def major(version):
    """The first number of a version, 0 where a driver tells none."""
    found = re.match(r"\d+", version)
    return int(found[0]) if found else 0


def chosen_by_nccl(names, wish):
    """Those of some names that NCCL takes by NCCL_SOCKET_IFNAME or NCCL_IB_HCA (NVIDIA's documentation of NCCL).

    :param wish: beginnings of names with commas between them, each perhaps with a port; a = before all asks for whole
        names, and a ^ before that for those that are not meant
    """
    without = wish.startswith("^")
    wish = wish[1:] if without else wish
    whole = wish.startswith("=")
    words = [word.split(":")[0] for word in wish.lstrip("=").split(",") if word]

    def meant(name):
        return any(name == word if whole else name.startswith(word) for word in words)

    return [name for name in names if meant(name) != without]


def driver(node):
    """Within one major version of CUDA an older driver runs an image, too (NVIDIA: minor version compatibility).

    With CUDA's forward compatibility in the image it runs even then, so this warns; the all-reduce tells for sure.
    """
    here = node["node"]
    if not here["image_cuda"]:
        return row("gpu-driver", node["name"], OK, "driver %s, CUDA up to %s" % (here["driver"], here["cuda"]))
    able = major(here["image_cuda"]) <= major(here["cuda"])
    found = "driver %s for CUDA up to %s" % (here["driver"], here["cuda"] or "it does not tell")
    return row("gpu-driver", node["name"], OK if able else WARN, found, "CUDA %s, as the image" % here["image_cuda"])


def idle(node):
    """Whether the memory of the GPUs is free, but for what our own containers hold."""
    held = []
    for gpu in node["node"]["gpus"]:
        others = [process for process in gpu["processes"] if not process["container"]]
        # Some drivers do not tell what a process holds.
        mib = sum(each["used_mib"] for each in others) if all(each["used_mib"] for each in others) else gpu["used_mib"]
        if others and mib > GPU_IDLE_MIB:
            words = ["%s (pid %d) %d MiB" % (each["name"], each["pid"], each["used_mib"]) for each in others]
            held.append("GPU %d: %s" % (gpu["index"], ", ".join(words)))
        elif not gpu["processes"] and gpu["used_mib"] > GPU_IDLE_MIB:
            held.append("GPU %d: %d MiB by a process that is not seen from here" % (gpu["index"], gpu["used_mib"]))
    return row("gpu-idle", node["name"], FAIL if held else OK, "; ".join(held) or "free", "nobody else's processes")


def has_infiniband(node):
    """Whether programs can use adapters whose links are InfiniBand."""
    ports = node["node"]["infiniband_ports"]
    return node["node"]["infiniband"] and any(port["link"] == "InfiniBand" for port in ports)


def check_infiniband(node, _limits):
    name, container, ports = node["name"], node["container"], node["node"]["infiniband_ports"]
    if not has_infiniband(node):
        # Adapters that do RDMA over Ethernet are in every other server, and mostly not meant.
        others = ", ".join("%s (%s)" % (port["device"], port["link"]) for port in ports)
        return [
            row("infiniband", name, OK, "none" + (": %s" % others if others else "")),
            row("memlock", name, OK, "not needed without InfiniBand"),
        ]
    names = chosen_by_nccl([port["device"] for port in ports], container["hca"])
    chosen = [port for port in ports if port["device"] in names]
    # Adapters may have both; NCCL leaves the Ethernet ports alone where InfiniBand is up.
    chosen = [port for port in chosen if port["link"] == "InfiniBand"] or chosen
    active = [port for port in chosen if port["state"] == "ACTIVE"]
    names = ", ".join("%s %s" % (port["device"], port["state"]) for port in ports)
    if not chosen:
        wanted = "adapters that cluster_nccl_ib_hca=%s means" % container["hca"]
        rows = [row("infiniband", name, FAIL, names, wanted)]
    elif len(active) < len(chosen):
        result = WARN if active else FAIL
        rows = [
            row("infiniband", name, result, names, "ACTIVE on all that cluster_nccl_ib_hca=%s means" % container["hca"])
        ]
    else:
        rates = sorted({port["rate"] for port in active})
        text = "%d ports ACTIVE, %s Gbit/s" % (len(active), ", ".join("%g" % rate for rate in rates))
        rows = [row("infiniband", name, OK if len(rates) == 1 else WARN, text, "the same rate on all")]
    able = container["privileged"] or (container["memlock"] and container["ipc_lock"])
    found = "allowed" if able else "memlock %s, IPC_LOCK %s" % (container["memlock"], container["ipc_lock"])
    if not node["node"]["root"]:
        # Nobody raises it for the user.
        able = node["node"]["memlock"] == -1
        found = "allowed" if able else "%s for the user %s" % (human(node["node"]["memlock"]), node["node"]["user"])
    return [*rows, row("memlock", name, OK if able else FAIL, found, "unlimited memlock and IPC_LOCK")]


def check_address(node, _limits):
    name, env = node["name"], node["container"]["env"]
    interfaces = node["node"]["interfaces"]
    addresses = [address for several in interfaces.values() for address in several]
    if not node["address"]:
        wanted = "an IPv4 address on the interface %s" % (node["interface"] or "of the default route")
        return [row("address", name, FAIL, listed(interfaces), wanted)]
    if node["address"] not in addresses:
        return [row("address", name, FAIL, listed(interfaces), "the address %s" % node["address"])]
    if ipaddress.ip_address(node["address"]).is_loopback:
        return [row("address", name, FAIL, node["address"], "an address that the other nodes reach")]
    if env.get(ADDRESS_VARIABLE, node["address"]) != node["address"]:
        wanted = "%s=%s, which is set for each node" % (ADDRESS_VARIABLE, node["address"])
        return [row("address", name, FAIL, "%s=%s" % (ADDRESS_VARIABLE, env[ADDRESS_VARIABLE]), wanted)]
    return [row("address", name, OK, "%s on %s" % (node["address"], node["interface"]))]


def check_interface(node, _limits):
    """What the user sets in place of the names that the collection gives."""
    name, env, interfaces, rows = node["name"], node["container"]["env"], node["node"]["interfaces"], []
    if node["address"] not in (address for several in interfaces.values() for address in several):
        # Which has a row of its own.
        return []
    for variable in INTERFACE_VARIABLES:
        wish = str(env.get(variable, ""))
        if variable.startswith("NCCL"):
            able = bool(chosen_by_nccl(interfaces, wish))
        else:
            # Gloo and TensorPipe take whole names, and need all of them.
            able = all(word in interfaces for word in wish.split(","))
        if wish and not able:
            text = "%s=%s" % (variable, env[variable])
            rows.append(row("interface", name, FAIL, text, "one of %s" % ", ".join(sorted(interfaces))))
    return rows or [row("interface", name, OK, node["interface"])]


def listed(interfaces):
    return ", ".join("%s %s" % (link, " ".join(several) or "none") for link, several in sorted(interfaces.items()))


def check_ports(node, _limits):
    rows = []
    # Ansible gives keys as numbers or as text.
    ports = {int(port): purpose for port, purpose in node["ports"].items()}
    for port, purpose in sorted(ports.items()):
        owners = [each for each in node["node"]["listeners"] if each["port"] == port and not each["container"]]
        if owners:
            who = "%s (pid %d) on %s" % (owners[0]["process"] or "a process", owners[0]["pid"], owners[0]["address"])
            rows.append(row("port", node["name"], FAIL, who, "port %d free for %s" % (port, purpose)))
    return rows or [
        row("port", node["name"], OK, "free or ours: %s" % (", ".join(map(str, sorted(ports))) or "none needed"))
    ]


def check_storage(node, limits):
    name, shared, folder = node["name"], node["node"]["shared"], node["shared_dir"]
    if not shared["exists"]:
        return [row("storage-shared", name, FAIL, "none", "a folder at cluster_shared_dir=%s" % folder)]
    if node["proof_error"]:
        found = "one that the head cannot write to: %s" % node["proof_error"]
        return [row("storage-writable", name, FAIL, found, "a writable folder at cluster_shared_dir=%s" % folder)]
    where = "%s from %s" % (shared["fstype"], shared["source"])
    if not shared["probe_seen"]:
        wanted = "in %s the file that the head has just made there" % folder
        return [row("storage-shared", name, FAIL, "no such file: it is on %s" % where, wanted)]
    rows = [row("storage-shared", name, OK, where)]
    result = OK if shared["writable"] else FAIL
    free = "%s free" % human(shared["free"]) if shared["writable"] else "read-only"
    who = "root" if node["node"]["root"] else "the user %s" % node["node"]["user"]
    rows.append(row("storage-writable", name, result, free, "a folder that %s can write to" % who))
    if node.get("rate_error"):
        rows.append(
            row(
                "storage-rate",
                name,
                WARN,
                node["rate_error"],
                "a rate of at least %s/s" % human(limits["storage_rate"]),
            )
        )
    if node["rate"]:
        slow = node["rate"]["rate"] < limits["storage_rate"]
        found = "%s/s" % human(node["rate"]["rate"])
        rows.append(row("storage-rate", name, WARN if slow else OK, found, "%s/s" % human(limits["storage_rate"])))
    return rows


def check_disks(node, limits):
    rows = []
    images = None if without_containers(node) else node["node"]["engine"]["root"]
    shared = node["node"]["shared"]
    if images is None and not node["node"]["image_id"] and shared["exists"] and shared["free"] < limits["image_disk"]:
        wanted = "in %s %s free for the environment" % (node["shared_dir"], human(limits["image_disk"]))
        rows.append(row("disk", node["name"], FAIL, "%s free" % human(shared["free"]), wanted))
    for path, disk in sorted(node["node"]["disks"].items()):
        need = limits["image_disk"] if path == images and not node["node"]["image_id"] else limits["disk"]
        if disk["used_percent"] > limits["disk_percent"] or disk["free"] < need:
            found = "%s free, %g %% used" % (human(disk["free"]), disk["used_percent"])
            wanted = "in %s %s free and at most %d %% used" % (path, human(need), limits["disk_percent"])
            rows.append(row("disk", node["name"], FAIL, found, wanted))
    free = ", ".join("%s %s" % (path, human(disk["free"])) for path, disk in sorted(node["node"]["disks"].items()))
    return rows or [row("disk", node["name"], OK, "free: %s" % free)]


def check_memory(node, _limits):
    name, memory, container = node["name"], node["node"]["memory"], node["container"]
    need = container["object_store"] + SHM_FOR_EACH_GPU * max(node["gpus"], 1)
    rows = []
    size, whose = container["shm_size"], "cluster_container_shm_size"
    if without_containers(node):
        size, whose = node["node"]["shm"], "the node's /dev/shm"
    if size < need:
        wanted = "at least %s for %d GPUs and Ray's object store" % (human(need), node["gpus"])
        rows.append(row("shm", name, FAIL, "%s %s" % (whose, human(size)), wanted))
    elif size > memory["total"]:
        found = "%s of %s memory" % (human(size), human(memory["total"]))
        rows.append(row("shm", name, FAIL, found, "less than the node's memory"))
    else:
        rows.append(row("shm", name, OK, human(size)))
    # With our engine running, what it holds is not missing.
    short = memory["available"] < need and not node["node"]["engine"]["containers"]
    found = "%s available of %s" % (human(memory["available"]), human(memory["total"]))
    return [*rows, row("memory", name, FAIL if short else OK, found, "%s available" % human(need))]


def check_calls(node, _limits):
    """Whom the node does not reach, and whose clock differs."""
    if node["calls"] is None:
        return []
    lost = ["%s port %d: %s" % (call["name"], call["port"], call["error"]) for call in node["calls"] if call["error"]]
    clocks = [call for call in node["calls"] if call["offset"] is not None]
    reached = sorted({call["name"] for call in node["calls"]})
    found = "; ".join(lost) or "reaches %s" % (", ".join(reached) or "nobody else: there is one node")
    rows = [row("reach", node["name"], FAIL if lost else OK, found, "an answer from every node")]
    if clocks:
        worst = max(clocks, key=lambda call: abs(call["offset"]))
        far = abs(worst["offset"]) > CLOCK_SECONDS
        found = "%+.3f s at %s" % (worst["offset"], worst["name"])
        rows.append(row("clock", node["name"], WARN if far else OK, found, "within %g s" % CLOCK_SECONDS))
    return rows


def compare_addresses(nodes, _limits):
    seen: dict[str, list[str]] = {}
    for node in nodes:
        seen.setdefault(node["address"], []).append(node["name"])
    twice = ["%s: %s" % (address, ", ".join(names)) for address, names in seen.items() if address and len(names) > 1]
    found = "; ".join(twice) or "%d" % len(seen)
    return [row("address-unique", CLUSTER, FAIL if twice else OK, found, "%d addresses" % len(nodes))]


def compare_gpus(nodes, _limits):
    kinds: dict[str, list[str]] = {}
    for node in nodes:
        names = sorted({gpu["name"] for gpu in node["node"]["gpus"]})
        kinds.setdefault("%d x %s" % (node["gpus"], " and ".join(names) or "no GPU"), []).append(node["name"])
    if len(kinds) == 1:
        return [row("gpu-equal", CLUSTER, OK, next(iter(kinds)))]
    found = "; ".join("%s: %s" % (", ".join(names), kind) for kind, names in kinds.items())
    return [row("gpu-equal", CLUSTER, FAIL, found, "the same on every node")]


def compare_mtus(nodes, _limits):
    mtus = {node["name"]: node["node"]["mtus"].get(node["interface"], 0) for node in nodes}
    same = len(set(mtus.values())) == 1
    found = "%d" % next(iter(mtus.values())) if same else ", ".join("%s %d" % each for each in mtus.items())
    return [row("mtu", CLUSTER, OK if same else FAIL, found, "the same on every node")]


def compare_images(nodes, _limits):
    have = {node["name"]: node["node"]["image_id"] for node in nodes if node["node"]["image_id"]}
    short = {name: ident.replace("sha256:", "")[:12] for name, ident in have.items()}
    if len(set(have.values())) > 1:
        found = ", ".join("%s %s" % each for each in short.items())
        return [row("image-same", CLUSTER, FAIL, found, "one ID of %s" % nodes[0]["container"]["image"])]
    missing = [node["name"] for node in nodes if node["name"] not in have]
    found = "not yet on %s" % ", ".join(missing) if missing else next(iter(short.values()))
    return [row("image-same", CLUSTER, OK, found)]


def compare_pythons(nodes, _limits):
    """The environment on shared storage is made by the head, and links to an interpreter that every node must have."""
    if not without_containers(nodes[0]):
        return []
    kinds: dict[str, list[str]] = {}
    for node in nodes:
        python = node["node"]["interpreter"]
        kinds.setdefault(python["error"] or "%(version)s at %(path)s" % python, []).append(node["name"])
    if len(kinds) == 1 and not nodes[0]["node"]["interpreter"]["error"]:
        return [row("python", CLUSTER, OK, next(iter(kinds)))]
    found = "; ".join("%s: %s" % (", ".join(names), kind) for kind, names in kinds.items())
    return [row("python", CLUSTER, FAIL, found, "the same one on every node")]


def compare_infiniband(nodes, _limits):
    """Nodes of which some have it are slower than those without: NCCL takes another way for all."""
    having = [node["name"] for node in nodes if has_infiniband(node)]
    if having and len(having) < len(nodes):
        return [row("infiniband", CLUSTER, FAIL, "only on %s" % ", ".join(having), "on every node or on none")]
    return []


def floor_of(nodes):
    """The bus bandwidth in GB/s under which something is wrong, not just less than the best.

    Estimates on the safe side, of what the slowest sound link brings. Within a node: PCIe 3.0 (16 GB/s one way) through
    the host's memory. Between nodes: half of one adapter's port, since every GPU has one of its own on the machines
    this is made for, and some have one for the node; less with more nodes, whose rings are longer; 10 Gbit Ethernet
    where there is no InfiniBand.
    """
    if not nodes[0]["node"]["gpus"]:
        return 0.005
    if len(nodes) == 1:
        return 3.0
    ports = [port for node in nodes for port in node["node"]["infiniband_ports"] if port["state"] == "ACTIVE"]
    rates = [port["rate"] for port in ports if port["link"] == "InfiniBand"] or [port["rate"] for port in ports]
    link = min(rates) / 8 if rates else 1.0
    return round(link / 2 * (1.0 if len(nodes) <= 4 else 0.75), 3)


def compare_fabric(nodes, limits):
    told = {node["name"]: node["fabric"] for node in nodes if node["fabric"]}
    if not told:
        return []
    wrong = ["%s: %s" % (name, each["error"]) for name, each in told.items() if "error" in each]
    if wrong:
        return [row("fabric", CLUSTER, FAIL, "; ".join(wrong), "an all-reduce over all GPUs")]
    measured = next((each["measured"] for each in told.values() if "measured" in each), None)
    if not measured:
        return [row("fabric", CLUSTER, FAIL, "no result of the first node", "an all-reduce over all GPUs")]
    if measured["ranks"] < 2:
        return [row("fabric", CLUSTER, OK, "one GPU: nothing to measure")]
    floor = limits["fabric_gb_s"] if limits["fabric_gb_s"] is not None else floor_of(nodes)
    found = "%s over %d ranks: %g GB/s bus bandwidth, %g µs" % (
        measured["backend"].upper() if measured["backend"] == "nccl" else "Gloo",
        measured["ranks"],
        measured["bus_gb_s"],
        measured["latency_us"],
    )
    if measured["transports"]:
        found += " by %s" % ", ".join(measured["transports"])
    wanted = "at least %g GB/s" % floor
    if "NET/Socket" in measured["transports"] and all(has_infiniband(node) for node in nodes):
        return [row("fabric", CLUSTER, FAIL, found, "NET/IB, since every node has InfiniBand")]
    return [row("fabric", CLUSTER, FAIL if measured["bus_gb_s"] < floor else OK, found, wanted)]


def compare_model(nodes, _limits):
    """What the roles say of the model; how long it loads if nothing but the storage is in the way."""
    model = nodes[0]["model"]
    if not model:
        return []
    if model["error"]:
        return [row("model", CLUSTER, FAIL, model["error"], "a model that is there and fits")]
    rates = [node["rate"]["rate"] for node in nodes if node["rate"]]
    found = model["told"]
    if rates and model["load_bytes"]:
        minutes = model["load_bytes"] / max(min(rates), 1) / 60
        found += ", loads in about %s" % ("%d min" % minutes if minutes >= 1 else "less than a minute")
    return [row("model", CLUSTER, OK, found)]


NODE_CHECKS = [
    check_root,
    check_state,
    check_os,
    check_runtime,
    check_engine,
    check_gpus,
    check_infiniband,
    check_address,
    check_interface,
    check_ports,
    check_calls,
    check_storage,
    check_disks,
    check_memory,
]
CLUSTER_CHECKS = [
    compare_addresses,
    compare_gpus,
    compare_mtus,
    compare_images,
    compare_pythons,
    compare_infiniband,
    compare_fabric,
    compare_model,
]


def refusal(rows):
    """The failed rows as sentences: what was expected, what was found, what to do, and how to go on all the same."""
    lines = []
    for each in rows:
        if each["result"] == FAIL:
            where = "the nodes" if each["node"] == CLUSTER else each["node"]
            lines.append(
                "%s: expected %s, found %s. %s (check '%s')"
                % (where, each["expected"], each["found"], each["remedy"], each["id"])
            )
    return lines
