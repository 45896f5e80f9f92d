#!/usr/bin/python
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_info
short_description: Reads what a node of a serving cluster has
version_added: 0.1.0
description:
  - Reads GPUs, network addresses, container engine, serving image and shared storage of a node in one go.
  - What is not there is reported as such; the module does not judge.
extends_documentation_fragment:
  - onecc.vllm.read_only
author:
  - The onecc.vllm authors (@onecc)
options:
  interface:
    description: The interface of the cluster's network. The default is that of the default route.
    type: str
  shared_dir:
    description: The shared folder.
    type: path
    required: true
  probe:
    description: A file in the shared folder that another node has made, to see whether it is there.
    type: path
  image:
    description: The serving image, by name; or the folder of a Python environment that is used in place of one.
    type: str
  interpreter:
    description: The Python that such an environment is made with.
    type: str
  paths:
    description: Files or folders of which to tell whether they exist.
    type: list
    elements: path
    default: []
  disks:
    description: Paths of which to tell how full their file systems are. They need not exist yet.
    type: list
    elements: path
    default: []
  state_dir:
    description: The folder with all that was deployed, and the record of that, see M(onecc.vllm.deployment_record).
    type: path
"""

EXAMPLES = r"""
- name: Read the node
  onecc.vllm.node_info:
    shared_dir: /home/ubuntu/shared
    image: onecc/vllm:0123456789ab
  register: node
"""

RETURN = r"""
root:
  description: Whether the module runs as root.
  returned: always
  type: bool
  sample: true
user:
  description: The user that it runs as.
  returned: always
  type: str
  sample: root
state:
  description: Whether O(state_dir) is there; whether it is the user's or can be made (C(usable)); whether nobody else
    may enter it (C(private)); whether something else is in it (C(foreign)); and the kind of its file system.
  returned: always
  type: dict
  sample: {exists: true, usable: true, private: true, foreign: false, fstype: ext4}
memlock:
  description: How much memory the user may lock at most, in bytes; -1 for any.
  returned: always
  type: int
  sample: -1
hostname:
  description: The node's own name.
  returned: always
  type: str
  sample: node00
kernel:
  description: The release of its kernel.
  returned: always
  type: str
  sample: 6.8.0-60-generic
interfaces:
  description: IPv4 addresses of the interfaces that are up.
  returned: always
  type: dict
  sample: {lo: [127.0.0.1], eth0: [198.18.0.10]}
interface:
  description: O(interface), or the interface of the default route. Empty if there is neither.
  returned: always
  type: str
  sample: eth0
address:
  description: The first address of that interface. Empty if it has none.
  returned: always
  type: str
  sample: 198.18.0.10
mtus:
  description: The MTU of every interface, in bytes.
  returned: always
  type: dict
  sample: {lo: 65536, eth0: 9000}
listeners:
  description: Who listens on TCP, with the own container that the process runs in, if any.
  returned: always
  type: list
  elements: dict
  sample: [{address: 0.0.0.0, port: 22, process: sshd, pid: 812, container: ''}]
firewall:
  description: Whether C(nft) is there, and whether the table of the role P(onecc.vllm.firewall#role) is loaded.
  returned: always
  type: dict
  sample: {nft: true, loaded: true}
ephemeral_ports:
  description: The first and the last port that the kernel gives to whoever asks for none.
  returned: always
  type: list
  elements: int
  sample: [32768, 60999]
os:
  description: The system.
  returned: always
  type: dict
  sample: {id: ubuntu, version: '22.04', name: Ubuntu 22.04.5 LTS, machine: x86_64, systemd: true}
memory:
  description: The memory in bytes.
  returned: always
  type: dict
  sample: {total: 1902670233600, available: 1870321664000}
disks:
  description: Free bytes and used percent of the file systems that hold O(disks) and the engine's images.
  returned: always
  type: dict
  sample: {/: {free: 18691697672192, used_percent: 2.1}}
gpus:
  description: NVIDIA GPUs with their memory, errors since the driver was loaded, and the processes that use them.
  returned: always
  type: list
  elements: dict
  sample:
    - index: 0
      name: NVIDIA H200
      memory_mib: 143771
      used_mib: 8719
      errors: []
      processes: [{pid: 553, name: python3, used_mib: 8710, container: ''}]
driver:
  description: The version of NVIDIA's driver.
  returned: always
  type: str
  sample: 580.159.04
cuda:
  description: The newest CUDA that the driver can run.
  returned: always
  type: str
  sample: '13.0'
xids:
  description: What the kernel says of errors of the GPUs, without those of programs.
  returned: always
  type: list
  elements: str
  sample: []
infiniband_ports:
  description: The ports of the InfiniBand adapters, rate in Gbit/s.
  returned: always
  type: list
  elements: dict
  sample: [{device: mlx5_0, port: 1, state: ACTIVE, rate: 400.0, link: InfiniBand}]
image_cuda:
  description: The CUDA that O(image) was made for. Empty if it is not there or tells none.
  returned: always
  type: str
  sample: 13.0.2
gpu_error:
  description: Why there is no list of GPUs.
  returned: always
  type: str
  sample: ''
infiniband:
  description: Whether the node has InfiniBand adapters that programs can use, those in C(/dev/infiniband).
  returned: always
  type: bool
  sample: true
engine:
  description: The Docker Engine's version, or why it does not answer; its data folder, runtimes, and those of the
    collection's containers that run, or processes in their place.
  returned: always
  type: dict
  sample:
    version: 20.10.24+dfsg1
    error: ''
    root: /var/lib/docker
    gpu_hook: true
    runtimes: [io.containerd.runc.v2, nvidia, runc]
    containers: {onecc-ray: 0f5ed1e5b4d2a40f0d3d4ad4b9c3e8f5c3a4f9b01c7e4b7a2f1d6c8e9a0b1c2d}
runtime:
  description: What the collection has deployed before, V(docker) or V(venv). Empty if nothing.
  returned: always
  type: str
  sample: docker
interpreter:
  description: Where O(interpreter) is, its version, or why there is none.
  returned: always
  type: dict
  sample: {path: /usr/bin/python3, version: 3.12.3, error: ''}
shm:
  description: The size of the node's own /dev/shm in bytes.
  returned: always
  type: int
  sample: 951335116800
image_id:
  description: The ID of O(image) in the engine, or of an environment that this node can run. Empty if it is not there.
  returned: always
  type: str
  sample: sha256:f4c1edef0b2d2a1cbd5b8fa11f7df2e4ac40a8cf9a5f8e43c4d7b0cbb18f0a6c
python_apt:
  description: Whether the Python that runs modules can look into apt. Without it check mode cannot tell of packages.
  returned: always
  type: bool
  sample: true
python_requests:
  description: Whether the system's Python can import requests, which community.docker needs.
  returned: always
  type: bool
  sample: true
python_venv:
  description: Whether the system's Python can make virtual environments.
  returned: always
  type: bool
  sample: true
shared:
  description: The shared folder as this node sees it, free space in bytes.
  returned: always
  type: dict
  sample:
    exists: true
    free: 10995116277760
    fstype: nfs4
    mount_point: /home/ubuntu/shared
    probe_seen: true
    source: 172.26.0.2:/shared
    writable: true
paths:
  description: Which of O(paths) exist.
  returned: always
  type: dict
  sample: {/dev/infiniband: true}
services:
  description: The collection's own services that are written down on the node.
  returned: always
  type: list
  elements: str
  sample: [onecc-endpoint, onecc-firewall, onecc-ray, onecc-vllm]
record:
  description: What the last deployment was asked for, empty if there is no record of it, and what is not as it left it.
  returned: always
  type: dict
  sample: {wish: 3f1c0a9be27d4f58, notes: {model: /home/ubuntu/shared/models/mine}, differs: [unit onecc-vllm.service]}
"""

import glob
import importlib.util
import os
import pwd
import resource
import shutil

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onecc.vllm.plugins.module_utils import gpu, node, record, services


def image(name, engine):
    """The image, or the environment in its place."""
    if name.startswith("/"):
        return node.read_environment(name)
    return node.read_image(name if engine["version"] else "")


def read(params, run):
    """All that is told of the node."""
    addresses = run(node.ADDRESS_COMMAND, check_rc=True)[1]
    interfaces = node.parse_interfaces(addresses)
    interface = params["interface"] or node.parse_default_interface(run(node.ROUTE_COMMAND, check_rc=True)[1])
    engine = node.read_engine(run)
    if os.geteuid() != 0:
        # Those of another user's deployment.
        engine["containers"] = {}
    engine["containers"].update(node.running_processes(params["state_dir"]))
    gpus = gpu.read_gpus(run)
    manager = services.open_services(run, params["state_dir"] or "/var/lib/onecc")
    listeners = node.parse_listeners(run(node.LISTENER_COMMAND, check_rc=True)[1])
    for process in listeners + [process for each in gpus["gpus"] for process in each["processes"]]:
        process["container"] = node.container_of(process["pid"], engine["containers"]) or manager.owner(process["pid"])
    system = os.uname()
    return dict(
        gpus,
        root=os.geteuid() == 0,
        user=pwd.getpwuid(os.geteuid()).pw_name,
        state=node.read_state(params["state_dir"] or "/var/lib/onecc"),
        memlock=resource.getrlimit(resource.RLIMIT_MEMLOCK)[1],
        hostname=system.nodename,
        kernel=system.release,
        os=dict(
            node.parse_os(node.read_text("/etc/os-release")),
            machine=system.machine,
            systemd=services.has_systemd(),
        ),
        memory=node.parse_memory(node.read_text("/proc/meminfo")),
        disks={path: node.read_disk(path) for path in [*params["disks"], engine["root"]]},
        interfaces=interfaces,
        interface=interface,
        address=(interfaces.get(interface) or [""])[0],
        mtus=node.parse_mtus(addresses),
        listeners=listeners,
        firewall=node.read_firewall(run),
        ephemeral_ports=node.parse_port_range(node.read_text("/proc/sys/net/ipv4/ip_local_port_range")),
        # rdma_cm alone is there without any adapter.
        infiniband=bool(glob.glob("/dev/infiniband/uverbs*")),
        infiniband_ports=gpu.read_infiniband(),
        xids=gpu.parse_xids(run(gpu.KERNEL_COMMAND)[1]) if gpus["gpus"] else [],
        engine=engine,
        runtime=node.read_runtime(params["state_dir"]),
        interpreter=node.read_interpreter(run, params["interpreter"]),
        shm=shutil.disk_usage("/dev/shm").total if os.path.isdir("/dev/shm") else 0,
        python_apt=importlib.util.find_spec("apt") is not None,
        python_requests=importlib.util.find_spec("requests") is not None,
        python_venv=importlib.util.find_spec("ensurepip") is not None,
        shared=node.read_shared(params["shared_dir"], params["probe"]),
        paths={path: os.path.exists(path) for path in params["paths"]},
        services=manager.names(),
        record=read_record(params["state_dir"], manager, engine["containers"]),
        **image(params["image"] or "", engine),
    )


def read_record(state_dir, manager, containers):
    """The record of the last deployment, beside how the node looks now."""
    told = record.read(state_dir) if state_dir else {}
    return record.compare(told, record.look(manager, state_dir, containers) if told else {})


def main():
    module = AnsibleModule(
        argument_spec={
            "interface": {"type": "str"},
            "shared_dir": {"type": "path", "required": True},
            "probe": {"type": "path"},
            "image": {"type": "str"},
            "interpreter": {"type": "str"},
            "paths": {"type": "list", "elements": "path", "default": []},
            "disks": {"type": "list", "elements": "path", "default": []},
            "state_dir": {"type": "path"},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, **read(module.params, module.run_command))


if __name__ == "__main__":
    main()
