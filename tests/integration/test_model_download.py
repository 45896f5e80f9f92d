# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The download: refusals, faults in its midst, and what is fetched a second time.

The hub gives every node the same rate, so that there is a midst.
"""

import concurrent.futures
import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
import time

import pytest

from lab import MODEL, ROOT, SHARED, wait_for
from lab_hub import ACCOUNTS, CACHE, ENDPOINT, Hub, model, on_disk, spread

REPO = "lab/spread"
GATED = "lab/gated"
SIZES = spread(120_000_000, 14) | {"original/weights.pth": 3_000_000, "pytorch_model.bin": 2_000_000}
CHOSEN = {name: size for name, size in SIZES.items() if not name.endswith((".pth", ".bin"))}
TOTAL = sum(CHOSEN.values())
MEMBER, STRANGER = "hf_memberOfTheLab00000", "hf_strangerToTheModel0"
HUB_CACHE = SHARED / ".cache/huggingface/hub"
FOLDER = HUB_CACHE / "models--lab--spread"
MEGA = 1_000_000


@pytest.fixture(scope="module")
def models():
    """What the hub has for these tests."""
    with model(REPO, SIZES), model(GATED, {"config.json": 500, "model.safetensors": MEGA}, {".gated": MEMBER}):
        ACCOUNTS.write_text("%s\n%s\n" % (MEMBER, STRANGER))
        yield
        ACCOUNTS.unlink()


@pytest.fixture
def hub(models, lab, monkeypatch):
    """A hub without limits, and two nodes on whose storage there is nothing of the tests' models."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    nodes, lab.nodes = lab.nodes, lab.nodes[:2]
    hub = Hub()
    hub.set()
    yield hub
    hub.set()
    lab.nodes = nodes
    for name in ("models--lab--spread", "models--lab--gated"):
        shutil.rmtree(HUB_CACHE / name, ignore_errors=True)


def download(lab, *words, **extra):
    return lab.play("download", *words, **{"model_download_repo": REPO, **extra})


def storage():
    """Everything below the shared folder, with size and time of change."""
    return {
        str(path.relative_to(SHARED)): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in SHARED.rglob("*")
        if not path.is_dir()
    }


def commit():
    return (FOLDER / "refs/main").read_text()


def snapshot():
    """The snapshot's files with their content's size; fails on a link that leads nowhere."""
    root = FOLDER / "snapshots" / commit()
    return {str(path.relative_to(root)): path.stat().st_size for path in root.rglob("*") if not path.is_dir()}


def is_whole():
    """Whether the snapshot shows exactly the bytes that the hub has."""
    root, source = FOLDER / "snapshots" / commit(), CACHE / "models" / REPO
    return snapshot() == CHOSEN and all((root / n).read_bytes() == (source / n).read_bytes() for n in CHOSEN)


class Begun:
    """A download that runs while the test does something to it."""

    def __init__(self, lab, **extra):
        self.play = None
        self.thread = threading.Thread(target=self.run, args=(lab, extra))
        self.thread.start()

    def run(self, lab, extra):
        self.play = download(lab, **extra)

    def end(self):
        self.thread.join(timeout=180)
        assert self.play, "the download did not end"
        return self.play


def job(lab, node):
    """The process that downloads on a node."""
    return lab.on(node, "cat /var/lib/onecc/download/lock").strip()


def plain(play):
    """What a play has said, without colours, line breaks, and what YAML does to quotes."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", play.text).replace("''", "'").split())


def test_check_mode_lists_what_would_be_fetched(lab, hub):
    before = lab.fingerprint()
    play = download(lab, "--check")
    assert play.rc == 0, play.why
    assert lab.fingerprint() == before
    for name in CHOSEN:
        assert name in play.text
    assert "pytorch_model.bin" not in play.text
    assert "to fetch: 122 MB in 18 files (node00 61.0 MB, node01 61.1 MB)" in plain(play), plain(play)
    assert "5.0 MB in formats that are not needed left out" in plain(play)
    assert hub.sent() == {}


def test_two_nodes_share_the_work(lab, hub):
    play = download(lab, model_download_progress="lines")
    assert play.rc == 0, play.why
    sent = hub.sent()
    assert set(sent) == {"198.18.0.10", "198.18.0.11"}
    assert sum(sent.values()) == TOTAL
    assert max(sent.values()) < 0.53 * TOTAL
    fetched = [entry["path"] for entry in hub.requests() if entry["method"] == "GET" and "/resolve/" in entry["path"]]
    assert len(fetched) == len(set(fetched)) == len(CHOSEN)
    assert is_whole()
    assert "fetched 122 MB in" in play.text
    again = download(lab)
    assert again.rc == 0, again.why
    assert not again.changed(), again.text
    assert sum(hub.sent().values()) == TOTAL


REFUSED = {
    "no repo": ({"model_download_repo": "nobody/nothing"}, ["found no such model", "Check the spelling"]),
    "no revision": ({"model_download_revision": "v9"}, ["revision 'v9' of model 'lab/spread'", "no such revision"]),
    "gated": ({"model_download_repo": GATED}, ["its access is restricted, and no token", "HF_TOKEN"]),
    "not accepted": (
        {"model_download_repo": GATED, "model_download_token": STRANGER},
        ["the account of the token has no access", "Ask for access"],
    ),
    "bad token": (
        {"model_download_token": "hf_expired"},
        ["the hub does not know the token", "Give a token that is valid"],
    ),
    "unreachable": (
        {"model_download_endpoint": "http://198.18.0.99"},
        ["http://198.18.0.99", "found no answer", "network"],
    ),
    "patterns": ({"model_download_include": ["*.nothing"]}, ["that fit the patterns", "none of its 20 files"]),
}


@pytest.fixture(scope="module")
def refused(models, lab):
    """The downloads with mistakes by name, side by side, and whether anything was written or sent."""
    hub = Hub()
    hub.set()
    before = storage()
    with pytest.MonkeyPatch.context() as patch, concurrent.futures.ThreadPoolExecutor(3) as pool:
        patch.delenv("HF_TOKEN", raising=False)
        plays = {name: pool.submit(download, lab, **extra) for name, (extra, _words) in REFUSED.items()}
    return {name: play.result() for name, play in plays.items()}, storage() == before and hub.sent() == {}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_the_first_byte(refused, name):
    plays, untouched = refused
    play, words = plays[name], REFUSED[name][1]
    assert play.rc != 0
    assert all(word in plain(play) for word in words), play.text
    assert not play.changed()
    assert untouched


@contextlib.contextmanager
def mounted(lab, options):
    """A folder of the shared one that is a file system of its own, on every node."""
    folder = "/home/ubuntu/shared/elsewhere"
    for node in lab.nodes:
        lab.on(node, "mkdir -p %s && mount -t tmpfs -o %s none %s" % (folder, options, folder))
    try:
        yield folder
    finally:
        for node in lab.nodes:
            lab.on(node, "umount %s; rmdir %s" % (folder, folder), check=False)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("size=50m", ["node00: expected 122 MB free in", "elsewhere/hub", "(122 MB), found 52.4 MB", "Free space"]),
        ("ro", ["node01: expected to be able to write to", "found 'Read-only file system'", "for writing"]),
    ],
    ids=["disk too small", "read-only"],
)
def test_storage_that_will_not_do(lab, hub, options, words):
    with mounted(lab, options) as folder:
        play = download(lab, cluster_hf_home=folder)
        left = lab.on("node00", "find %s -type f" % folder)
    assert play.rc != 0
    assert all(word in plain(play) for word in words), play.text
    assert not play.changed()
    assert left == ""
    assert hub.sent() == {}


def test_disk_that_fills_up_meanwhile(lab, hub):
    lab.nodes = lab.nodes[:1]
    with mounted(lab, "size=150m") as folder:
        hub.set(rate=20 * MEGA)
        begun = Begun(lab, cluster_hf_home=folder)
        wait_for(lambda: lab.on("node00", "ls %s/hub/models--lab--spread/blobs 2>/dev/null" % folder, check=False))
        lab.on("node00", "dd if=/dev/zero of=%s/other bs=1M count=100" % folder, check=False)
        play = begun.end()
        assert play.rc != 0
        for words in ["node00", "GB more for this node", "no space left", "it goes on with what is there"]:
            assert words in plain(play), play.text
        assert lab.on("node00", "ls %s/hub/models--lab--spread/snapshots" % folder, check=False) == ""
        have = int(lab.on("node00", "cat %s/hub/models--lab--spread/blobs/* | wc -c" % folder))
        lab.on("node00", "rm %s/other" % folder)
        hub.set()
        hub.mark()
        play = download(lab, cluster_hf_home=folder)
        assert play.rc == 0, play.why
        assert sum(hub.sent().values()) <= 1.1 * (TOTAL - have)


def kill_job(lab):
    lab.on("node01", "kill -9 %s" % job(lab, "node01"))


def reboot(lab):
    subprocess.run(["docker", "restart", "--time", "0", "onecc-lab-node01"], check=True, timeout=60)
    wait_for(lambda: "running" in lab.on("node01", "systemctl is-system-running", check=False))


def cut_network(lab):
    lab.on("node01", "ip route add blackhole 198.18.0.2/32")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (kill_job, ["fatal: [node01]: FAILED!", "ended from outside"]),
        (cut_network, ["fatal: [node01]: FAILED!", "found no answer", "Check the network from this host"]),
        (reboot, ["node01", "Run this again"]),
    ],
    ids=["kill", "network", "reboot"],
)
def test_interrupted_and_run_again(lab, hub, fault, words):
    hub.set(rate=10 * MEGA)
    begun = Begun(lab, model_download_patience=5)
    wait_for(lambda: on_disk(FOLDER) > 0.4 * TOTAL)
    fault(lab)
    play = begun.end()
    assert play.rc != 0, play.text
    assert all(word in plain(play) for word in words), play.text
    assert not list(FOLDER.glob("snapshots/*"))
    lab.on("node01", "ip route del blackhole 198.18.0.2/32 2>/dev/null", check=False)
    missing = TOTAL - on_disk(FOLDER)
    assert 0 < missing < TOTAL
    hub.mark()
    hub.set()
    play = download(lab)
    assert play.rc == 0, play.why
    refetched = sum(hub.sent().values()) / missing
    lab.note("refetch_ratio_%s" % fault.__name__, round(refetched, 3))
    assert refetched <= 1.1
    assert is_whole()
    assert not [path.name for path in FOLDER.glob("blobs/*") if "incomplete" in path.name]


def test_short_cut_of_the_network_is_waited_out(lab, hub):
    hub.set(rate=10 * MEGA)
    begun = Begun(lab)
    wait_for(lambda: on_disk(FOLDER) > 0.2 * TOTAL)
    lab.on("node01", "ip link set lo up; iptables -w -I INPUT -s 198.18.0.2 -j DROP", check=False)
    cut_network(lab)
    # How long the network is away: longer than a look of the progress display, much shorter than the patience.
    time.sleep(6)
    lab.on("node01", "iptables -w -D INPUT -s 198.18.0.2 -j DROP", check=False)
    lab.on("node01", "ip route del blackhole 198.18.0.2/32")
    play = begun.end()
    assert play.rc == 0, play.why
    assert is_whole()


def test_ansible_killed_and_run_again(lab, hub):
    """The nodes go on by themselves; the next run takes over from them and fetches nothing twice."""
    hub.set(rate=8 * MEGA)
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "LAB_NODES": "2"}
    words = ["ansible-playbook", "-i", str(ROOT / "inventories/lab"), "playbooks/download.yml"]
    words += ["-e", "model_download_repo=" + REPO]
    run = subprocess.Popen(words, cwd=ROOT, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)
    wait_for(lambda: on_disk(FOLDER) > 0.1 * TOTAL)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    before = on_disk(FOLDER)
    wait_for(lambda: on_disk(FOLDER) > before + 0.1 * TOTAL)
    play = download(lab)
    assert play.rc == 0, play.why
    assert play.changed()
    assert sum(hub.sent().values()) <= 1.1 * TOTAL
    assert is_whole()


@pytest.mark.parametrize("hidden", [False, True], ids=["plain", "time put back"])
def test_a_flipped_byte_is_found_and_mended(lab, hub, hidden):
    assert download(lab).rc == 0
    path = (FOLDER / "snapshots" / commit() / "model-00003-of-00014.safetensors").resolve()
    stat = path.stat()
    with path.open("r+b") as stream:
        stream.seek(stat.st_size // 3)
        byte = stream.read(1)[0]
        stream.seek(-1, 1)
        stream.write(bytes([byte ^ 1]))
    if hidden:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert not is_whole()
    hub.mark()
    play = download(lab)
    assert play.rc == 0, play.why
    assert "to check: %.1f MB in 1 files" % (path.stat().st_size / MEGA) in plain(play)
    assert sum(hub.sent().values()) == path.stat().st_size
    assert is_whole()


def test_every_file_is_read_again_on_demand(lab, hub):
    assert download(lab).rc == 0
    hub.mark()
    play = download(lab, model_download_verify=True, model_download_revision=commit())
    assert play.rc == 0, play.why
    assert "checked 122 MB in" in play.text
    assert hub.requests() == []


def test_a_hub_that_sends_other_bytes(lab, hub):
    name = "model-00002-of-00014.safetensors"
    hub.set(flip=name)
    play = download(lab)
    assert play.rc != 0
    assert "expected %s with the hash" % name in plain(play)
    assert not list(FOLDER.glob("snapshots/*"))
    hub.set()
    assert download(lab).rc == 0
    assert is_whole()


def test_pinned_and_there(lab, hub):
    """No request at all, and soon."""
    assert download(lab).rc == 0
    hub.mark()
    # A hub that cannot be reached is no obstacle.
    play = download(lab, model_download_revision=commit(), model_download_endpoint="http://198.18.0.99")
    assert play.rc == 0, play.why
    assert "complete and checked: nothing to fetch" in plain(play)
    assert not play.changed()
    assert hub.requests() == []
    lab.note("download_noop_s", round(play.seconds, 2))


def test_refused_in_spite_of_what_is_there(lab, hub, monkeypatch):
    """A snapshot from better days is not served in silence; the message says how to ask for it."""
    monkeypatch.setenv("HF_TOKEN", MEMBER)
    assert download(lab, model_download_repo=GATED).rc == 0
    there = (HUB_CACHE / "models--lab--gated/refs/main").read_text()
    monkeypatch.delenv("HF_TOKEN")
    play = download(lab, model_download_repo=GATED)
    assert play.rc != 0
    assert "access is restricted" in plain(play)
    assert "set model_download_revision to the commit %s" % there in plain(play), play.text
    play = download(lab, model_download_repo=GATED, model_download_revision=there)
    assert play.rc == 0, play.why


def test_what_hf_download_has_brought_is_checked_and_kept(lab, hub):
    tool = lab.on("node00", "ls -d /var/lib/onecc/tools-*/bin/hf").split()[-1]
    home = "/home/ubuntu/shared/.cache/huggingface"
    command = "HF_HOME=%s HF_ENDPOINT=%s %s download %s --exclude original/* --exclude *.bin"
    lab.on("node00", command % (home, ENDPOINT, tool, REPO))
    left = FOLDER / "blobs" / ("0" * 64 + ".01234567.incomplete")
    left.write_bytes(b"cut off")
    os.utime(left, (time.time() - 7200,) * 2)
    hub.mark()
    play = download(lab)
    assert play.rc == 0, play.why
    assert hub.sent() == {}
    assert "to check: 122 MB in 18 files" in plain(play)
    assert not left.exists()
    assert is_whole()
    assert not download(lab).changed()


def test_xet(lab, hub):
    """The hub's other protocol: the same files, and what it keeps lies on the nodes' own disks."""
    # From a download by hand.
    shutil.rmtree(SHARED / ".cache/huggingface/xet", ignore_errors=True)
    play = download(lab, model_download_transport="xet")
    assert play.rc == 0, play.why
    paths = [entry["path"] for entry in hub.requests() if entry["method"] == "GET"]
    assert any("/v2/reconstructions/" in path for path in paths)
    assert not any("/resolve/" in path and path.endswith(".safetensors") for path in paths)
    assert is_whole()
    assert "xet" in lab.on("node01", "ls /var/lib/onecc/download/hf")
    assert not [path for path in SHARED.rglob("*") if "xet" in path.name]


def secret_places(lab, node, secret):
    """Where a node shows a secret: files, command lines, environments, journal."""
    find = (
        "grep -rlF {0} /root /home/ubuntu /tmp /var/tmp /var/lib/onecc /var/log /run /etc 2>/dev/null; "
        'for p in /proc/[0-9]*; do tr "\\\\0" "\\\\n" <$p/environ 2>/dev/null | grep -qF {0} && echo $p/environ; '
        'tr "\\\\0" "\\\\n" <$p/cmdline 2>/dev/null | grep -v grep | grep -qF {0} && echo $p/cmdline; done; '
        "journalctl --no-pager | grep -v grep | grep -F {0}; true"
    )
    # In two parts, so that the search does not find itself.
    quoted = '%s""%s' % (secret[:6], secret[6:])
    return lab.on(node, find.format(quoted))


def test_the_token_is_nowhere(lab, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", MEMBER)
    hub.set(rate=10 * MEGA)
    texts = []
    thread = threading.Thread(target=lambda: texts.append(download(lab, "-vvvv", "--diff")))
    thread.start()
    wait_for(lambda: on_disk(FOLDER) > 0.3 * TOTAL)
    assert any(entry["authorized"] for entry in hub.requests())
    during = [secret_places(lab, node, MEMBER) for node in lab.nodes]
    hub.set()
    thread.join()
    assert texts[0].rc == 0, texts[0].text
    assert during == ["", ""]
    assert [secret_places(lab, node, MEMBER) for node in lab.nodes] == ["", ""]
    assert MEMBER not in texts[0].text
    for path in lab.scratch.rglob("*"):
        # ansible-runner itself notes the environment it was called with, readable for its user alone.
        if path.is_file() and path.name != "command":
            assert MEMBER.encode() not in path.read_bytes(), path
    for path in SHARED.rglob("*.json*"):
        assert MEMBER.encode() not in path.read_bytes()


def test_teardown_ends_a_download(lab, hub):
    hub.set(rate=5 * MEGA)
    begun = Begun(lab)
    wait_for(lambda: on_disk(FOLDER) > 0.1 * TOTAL)
    pids = {node: job(lab, node) for node in lab.nodes}
    play = lab.play("teardown", model_download_repo=REPO)
    assert play.rc == 0, play.why
    for node, pid in pids.items():
        assert lab.on(node, "ls -d /proc/%s" % pid, check=False) == ""
    assert begun.end().rc != 0


def broken(folder):
    (folder / "model-00002-of-00005.safetensors").unlink()


def cut_short(folder):
    with (folder / "model-00001-of-00005.safetensors").open("r+b") as stream:
        stream.truncate(1000_000)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (broken, ["the file that model.safetensors.index.json names", "found nothing"]),
        (cut_short, ["63705680 bytes, as its header says", "found 1000000"]),
    ],
    ids=["missing", "short"],
)
def test_a_folder_that_holds_no_whole_model(lab, hub, harm, words):
    folder = SHARED / "models/mine"
    shutil.copytree(CACHE / "models" / MODEL, folder)
    harm(folder)
    try:
        play = lab.play("download", model_download_path="/home/ubuntu/shared/models/mine")
    finally:
        shutil.rmtree(folder)
    assert play.rc != 0
    assert all(word in plain(play) for word in words), play.text
    assert not play.changed()
