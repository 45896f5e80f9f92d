# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GPUs and InfiniBand adapters, on what a real driver printed and on files as the kernel writes them."""

from __future__ import annotations

import re
import subprocess

import pytest

from ansible_collections.onecc.vllm.plugins.module_utils import gpu

H200 = {
    "index": 0,
    "name": "NVIDIA H200",
    "memory_mib": 143771,
    "used_mib": 8719,
    "errors": [],
    "processes": [{"pid": 553, "name": "python3", "used_mib": 8710}],
}
# Driver 610 (2026): the old names still have their values, with a sentence behind them.
DEPRECATED = "%s [Deprecated; will be removed in CUDA 14.0. Use %s Version instead]"


@pytest.fixture(scope="session")
def busy(capture):
    """What nvidia-smi printed while a process held 8 GiB of an H200."""
    return capture("node/nvidia_smi_busy.xml")


def replaced(text, *pairs):
    """The text with the first occurrence of each first string replaced by the second."""
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new, 1)
    return text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("143771 MiB", 143771),
        ("0 MiB", 0),
        ("553", 553),
        ("N/A", 0),
        ("[N/A]", 0),
        ("", 0),
        (None, 0),
    ],
)
def test_number(text, value):
    assert gpu.number(text) == value


def test_parse_gpus(busy):
    assert gpu.parse_gpus(busy) == {"driver": "580.159.04", "cuda": "13.0", "gpus": [H200]}


def test_parse_eight_gpus(busy):
    """The index is the place in the list: what Ray and CUDA count by."""
    block = re.search(r"\t<gpu id=.*?</gpu>\n", busy, re.DOTALL)[0]
    told = gpu.parse_gpus(replaced(busy, (block, block * 8)))["gpus"]
    assert told == [dict(H200, index=index) for index in range(8)]


PROCESS = (
    "\t\t\t<process_info>\n\t\t\t\t<pid>2210</pid>\n\t\t\t\t<type>G</type>\n"
    "\t\t\t\t<process_name>/usr/lib/xorg/Xorg</process_name>\n\t\t\t\t<used_memory>N/A</used_memory>\n"
    "\t\t\t</process_info>\n"
)


@pytest.mark.parametrize(
    ("pairs", "change"),
    [
        pytest.param([("<total>143771 MiB</total>", "<total>[N/A]</total>")], {"memory_mib": 0}, id="memory-unknown"),
        pytest.param([("<used>8719 MiB</used>", "<used>N/A</used>")], {"used_mib": 0}, id="use-unknown"),
        pytest.param([("NVIDIA H200", "NVIDIA A100-SXM4-40GB")], {"name": "NVIDIA A100-SXM4-40GB"}, id="another"),
        pytest.param(
            [("\t\t</processes>", PROCESS + "\t\t</processes>")],
            {"processes": [*H200["processes"], {"pid": 2210, "name": "/usr/lib/xorg/Xorg", "used_mib": 0}]},
            id="two-processes",
        ),
        pytest.param(
            # Those that have ended are told as well where accounting is on.
            [
                (
                    "\t\t<accounted_processes>",
                    "\t\t<accounted_processes><accounted_process_info><pid>9</pid></accounted_process_info>",
                )
            ],
            {},
            id="accounted-processes-are-over",
        ),
    ],
)
def test_parse_gpus_variants(busy, pairs, change):
    assert gpu.parse_gpus(replaced(busy, *pairs))["gpus"] == [H200 | change]


def test_parse_gpus_without_processes(busy):
    idle = re.sub(r"\t\t\t<process_info>.*?</process_info>\n", "", busy, flags=re.DOTALL)
    assert gpu.parse_gpus(idle)["gpus"] == [dict(H200, processes=[])]


@pytest.mark.parametrize(
    ("pairs", "driver", "cuda"),
    [
        # As nvidia-smi -q of driver 610 prints them.
        pytest.param(
            [
                (
                    "<driver_version>580.159.04</driver_version>",
                    "<driver_version>%s</driver_version>" % DEPRECATED % ("610.57.04", "KMD"),
                ),
                (
                    "<cuda_version>13.0</cuda_version>",
                    "<cuda_version>%s</cuda_version>"
                    "<kmd_version>610.57.04</kmd_version><cuda_umd_version>13.3</cuda_umd_version>"
                    % DEPRECATED
                    % ("13.3", "CUDA UMD"),
                ),
            ],
            "610.57.04",
            "13.3",
            id="driver-610",
        ),
        pytest.param(
            [
                ("<driver_version>580.159.04</driver_version>", "<kmd_version>700.10</kmd_version>"),
                ("<cuda_version>13.0</cuda_version>", "<cuda_umd_version>14.0</cuda_umd_version>"),
            ],
            "700.10",
            "14.0",
            id="as-announced-for-cuda-14",
        ),
        # An old driver, or one without libcuda.
        pytest.param([("<cuda_version>13.0</cuda_version>", "")], "580.159.04", "", id="cuda-not-told"),
    ],
)
def test_parse_versions(busy, pairs, driver, cuda):
    told = gpu.parse_gpus(replaced(busy, *pairs))
    assert (told["driver"], told["cuda"]) == (driver, cuda)


def volatile(name, old="0", new="0"):
    """A counter's first place is among those since the driver was loaded, its second among those of all time."""
    return "<%s>%s</%s>" % (name, old, name), "<%s>%s</%s>" % (name, new, name)


@pytest.mark.parametrize(
    ("pairs", "errors"),
    [
        pytest.param([], [], id="healthy"),
        pytest.param([volatile("dram_uncorrectable", new="2")], ["dram_uncorrectable 2"], id="memory"),
        pytest.param(
            [volatile("sram_uncorrectable_parity", new="1"), volatile("sram_uncorrectable_secded", new="3")],
            ["sram_uncorrectable_parity 1", "sram_uncorrectable_secded 3"],
            id="caches",
        ),
        pytest.param(
            [volatile("dram_correctable", new="7"), volatile("sram_correctable", new="9")], [], id="corrected"
        ),
        pytest.param([volatile("dram_uncorrectable", new="N/A")], [], id="unknown"),
        pytest.param([("<remapped_row_pending>No", "<remapped_row_pending>Yes")], ["remapped_row_pending"], id="reset"),
        pytest.param([("<remapped_row_failure>No", "<remapped_row_failure>Yes")], ["remapped_row_failure"], id="worn"),
        pytest.param([("<remapped_row_unc>0", "<remapped_row_unc>4")], [], id="remapped-and-in-order"),
        pytest.param([("<remapped_row_pending>No", "<remapped_row_pending>N/A")], [], id="no-remapping"),
        pytest.param(
            [volatile("dram_uncorrectable", new="2"), ("<remapped_row_pending>No", "<remapped_row_pending>Yes")],
            ["dram_uncorrectable 2", "remapped_row_pending"],
            id="both",
        ),
    ],
)
def test_errors(busy, pairs, errors):
    assert gpu.parse_gpus(replaced(busy, *pairs))["gpus"] == [dict(H200, errors=errors)]


def test_errors_of_all_time_are_over(busy):
    """A GPU that was repaired or reset keeps those counters."""
    start, counter, rest = busy.rpartition("<dram_uncorrectable>0</dram_uncorrectable>")
    assert "</volatile>" in start
    assert gpu.parse_gpus(start + counter.replace("0", "5") + rest)["gpus"] == [H200]


@pytest.mark.parametrize("section", ["ecc_errors", "remapped_rows"])
@pytest.mark.parametrize("left", ["", "<%s>N/A</%s>"])
def test_a_gpu_without_counters(busy, section, left):
    """GPUs without ECC memory."""
    text = left and left % (section, section)
    without, count = re.subn(r"<%s>.*?</%s>" % (section, section), text, busy, flags=re.DOTALL)
    assert count == 1
    assert gpu.parse_gpus(without)["gpus"] == [H200]


@pytest.mark.parametrize("output", ["", "No devices were found\n", "<nvidia_smi_log><gpu>"])
def test_parse_what_is_no_xml(output):
    with pytest.raises(ValueError, match="line 1"):
        gpu.parse_gpus(output)


NO_DRIVER = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA"
    " driver is installed and running."
)
MISMATCH = "Failed to initialize NVML: Driver/library version mismatch"
LOST = "Unable to determine the device handle for GPU0: 0000:3B:00.0: Unknown Error"


@pytest.mark.parametrize(
    ("script", "error"),
    [
        pytest.param(None, "the command nvidia-smi is not there", id="no-command"),
        pytest.param('echo; echo "%s"; echo; exit 9' % NO_DRIVER, NO_DRIVER, id="no-driver"),
        pytest.param("echo '%s'; echo 'NVML library version: 580.159'; exit 18" % MISMATCH, MISMATCH, id="mismatch"),
        pytest.param("echo No devices were found", "No devices were found", id="no-devices-and-status-0"),
        pytest.param("echo '%s' >&2; exit 255" % LOST, LOST, id="lost"),
        pytest.param("exit 139", "status 139", id="nothing-said"),
    ],
)
def test_read_gpus_that_are_not_told(tmp_path, monkeypatch, script, error):
    assert gpu.read_gpus(runner(tmp_path, monkeypatch, script)) == {
        "driver": "",
        "cuda": "",
        "gpus": [],
        "gpu_error": error,
    }


def runner(folder, monkeypatch, script):
    """Puts nvidia-smi, if there is a script, on an otherwise empty path; runs argv as AnsibleModule does."""
    monkeypatch.setenv("PATH", str(folder))
    if script is not None:
        (folder / "nvidia-smi").write_text("#!/bin/sh\n%s\n" % script)
        (folder / "nvidia-smi").chmod(0o755)

    def run(argv):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    return run


def test_read_gpus(tmp_path, monkeypatch, busy):
    (tmp_path / "answer").write_text(busy)
    run = runner(tmp_path, monkeypatch, '[ "$*" = "-q -x" ] && exec /bin/cat "${0%/*}/answer"')
    assert gpu.read_gpus(run) == {"driver": "580.159.04", "cuda": "13.0", "gpus": [H200], "gpu_error": ""}


def test_nothing_read_changes_what_comes_next(tmp_path, monkeypatch):
    first = gpu.read_gpus(runner(tmp_path, monkeypatch, None))
    first["driver"] = "changed"
    assert gpu.read_gpus(runner(tmp_path, monkeypatch, None))["driver"] == ""


# What the kernel says.

BUS = "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."
ECC = "NVRM: Xid (PCI:0000:83:00): 48, pid='<unknown>', name=<unknown>, An uncorrectable double bit error (DBE) has"
NVLINK = "NVRM: Xid (PCI:0000:18:00): 74, pid=1423, name=nv-hostengine, NVLink: fatal error detected on link 6"
GSP = "NVRM: Xid (PCI:0000:9b:00): 119, pid=80417, name=python3, Timeout after 6s of waiting for RPC response from GPU3"
OF_PROGRAMS = [
    "NVRM: Xid (PCI:0000:00:06): 13, pid=553, name=python3, Graphics SM Warp Exception on (GPC 0, TPC 0, SM 0)",
    "NVRM: Xid (PCI:0000:00:06): 31, pid=79749, name=exe, Ch 0000000a, intr 00000000. MMU Fault: ENGINE GRAPHICS",
    "NVRM: Xid (PCI:0000:00:06): 43, pid=79749, name=exe, Ch 00000008",
    "NVRM: Xid (PCI:0000:00:06): 45, pid=79749, name=exe, Ch 00000008",
]
NOISE = [
    "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  580.159.04",
    "NVRM: GPU at PCI:0000:3b:00: GPU-00000000-1111-2222-3333-444444444444",
    "NVRM: GPU 0000:3b:00.0: GPU has fallen off the bus.",
    "mlx5_core 0000:1a:00.0: firmware version: 28.39.3560",
]


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param(NOISE, [], id="nothing-wrong"),
        pytest.param(OF_PROGRAMS, [], id="of-programs"),
        pytest.param([*NOISE, BUS, *OF_PROGRAMS], [BUS], id="off-the-bus"),
        pytest.param([BUS, ECC, NVLINK, GSP], [BUS, ECC, NVLINK, GSP], id="several-kinds"),
        # The first digits of 131 and 310 are no 13 and no 31.
        pytest.param(
            [line.replace("79,", "%d," % number) for line in [BUS] for number in (131, 310, 4)],
            [line.replace("79,", "%d," % number) for line in [BUS] for number in (131, 310, 4)],
            id="numbers-are-whole",
        ),
        pytest.param(
            [BUS, BUS.replace("3b:00", "5d:00")], [BUS, BUS.replace("3b:00", "5d:00")], id="one-kind-on-two-gpus"
        ),
        pytest.param([NVLINK, NVLINK.replace("link 6", "link 9")], [NVLINK.replace("link 6", "link 9")], id="again"),
        pytest.param(["  %s  " % BUS], [BUS], id="blanks"),
    ],
)
def test_parse_xids(lines, found):
    assert gpu.parse_xids("".join(line + "\n" for line in lines)) == found


# InfiniBand, in files as https://docs.kernel.org/infiniband/sysfs.html tells of.


@pytest.fixture
def adapters(tmp_path):
    """Makes ports of adapters: a dictionary from "device/port" to state, rate and link layer."""

    def make(ports):
        for name, words in ports.items():
            device, port = name.split("/")
            folder = tmp_path / "infiniband" / device / "ports" / port
            folder.mkdir(parents=True)
            for file, text in zip(("state", "rate", "link_layer"), words, strict=True):
                (folder / file).write_text(text + "\n")
            (folder / "phys_state").write_text("5: LinkUp\n")
        return str(tmp_path / "infiniband")

    return make


def port(device, state="ACTIVE", rate=400.0, link="InfiniBand", number=1):
    return {"device": device, "port": number, "state": state, "rate": rate, "link": link}


NDR = ("4: ACTIVE", "400 Gb/sec (4X NDR)", "InfiniBand")


@pytest.mark.parametrize(
    ("ports", "told"),
    [
        pytest.param({}, [], id="none"),
        pytest.param(
            {"mlx5_%d/1" % number: NDR for number in range(8)},
            [port("mlx5_%d" % number) for number in range(8)],
            id="eight",
        ),
        pytest.param(
            {"mlx5_0/1": ("1: DOWN", "100 Gb/sec (4X EDR)", "InfiniBand")},
            [port("mlx5_0", state="DOWN", rate=100.0)],
            id="down",
        ),
        pytest.param(
            {"mlx5_0/1": ("2: INIT", "2.5 Gb/sec (1X SDR)", "InfiniBand")},
            [port("mlx5_0", state="INIT", rate=2.5)],
            id="no-subnet-manager",
        ),
        pytest.param(
            {"mlx4_0/1": ("4: ACTIVE", "56 Gb/sec (4X FDR)", "InfiniBand"), "mlx4_0/2": NDR},
            [port("mlx4_0", rate=56.0), port("mlx4_0", number=2)],
            id="two-ports",
        ),
        pytest.param(
            {"mlx5_bond_0/1": ("4: ACTIVE", "25 Gb/sec (1X EDR)", "Ethernet")},
            [port("mlx5_bond_0", rate=25.0, link="Ethernet")],
            id="ethernet",
        ),
        pytest.param({"mlx5_0/1": ("4: ACTIVE", "", "InfiniBand")}, [port("mlx5_0", rate=0.0)], id="rate-unknown"),
    ],
)
def test_read_infiniband(adapters, ports, told):
    assert gpu.read_infiniband(adapters(ports)) == told


def test_a_folder_with_a_strange_name(tmp_path, adapters):
    root = adapters({"mlx5_0/1": NDR})
    (tmp_path / "[a]").mkdir()
    (tmp_path / "[a]" / "infiniband").symlink_to(root)
    assert gpu.read_infiniband(str(tmp_path / "[a]" / "infiniband")) == [port("mlx5_0")]
