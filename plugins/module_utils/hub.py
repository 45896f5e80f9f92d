# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model on a hub, through huggingface_hub."""

from __future__ import annotations

import fnmatch
import re

from .errors import OneccError

# A commit's id; sha256, or git's id of a file.
COMMIT = re.compile(r"[0-9a-f]{40}")
BLOB = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")

REPO_OPTION = {"repo": {"type": "str", "required": True}}
PATTERN_OPTIONS = {
    "include": {"type": "list", "elements": "str", "default": []},
    "exclude": {"type": "list", "elements": "str", "default": []},
    "duplicates": {"type": "bool", "default": False},
}
ENDPOINT_OPTIONS = {"endpoint": {"type": "str"}, "token": {"type": "str", "no_log": True}}


def describe(api, hub, params, timeout=20):
    """What the hub says of a repository at a revision.

    :param api: a huggingface_hub.HfApi
    :param hub: the module huggingface_hub, for its errors and functions
    :param params: dictionary with repo, revision, include, exclude and duplicates
    :return: dictionary with commit, all_files, files (those that were chosen), size and left_out_size in
        bytes; a file has path, size in bytes, and blob: the sha256 of a file in LFS, the id that git gives any other
    :raises OneccError: when the hub does not answer or refuses
    """
    repo, revision = params["repo"], params["revision"]
    try:
        info = api.model_info(repo, revision=revision, files_metadata=True, timeout=timeout)
        files = [to_file(sibling, api.endpoint) for sibling in info.siblings]
        chosen = choose(files, params["include"], params["exclude"], params["duplicates"])
        if info.gated and chosen:
            # Anyone may read about a gated repository; only its files tell whether the token will do.
            url = hub.hf_hub_url(repo, chosen[0]["path"], revision=info.sha, endpoint=api.endpoint)
            hub.get_hf_file_metadata(url, token=api.token, endpoint=api.endpoint)
    except OneccError:
        raise
    except Exception as error:
        # What else may come depends on the transport, which changes with huggingface_hub's version.
        raise explain(error, repo, revision, api.endpoint) from error
    if not COMMIT.fullmatch(info.sha or ""):
        raise OneccError(
            api.endpoint, "the commit of '%s'" % repo, "'%s'" % info.sha, "Use a hub or mirror that names commits."
        )
    if not chosen:
        raise OneccError(
            api.endpoint,
            "files of '%s' that fit the patterns" % repo,
            "none of its %d files" % len(files),
            "Correct the patterns to include and to exclude.",
        )
    size = sum(file["size"] for file in chosen)
    return {
        "commit": info.sha,
        "all_files": files,
        "files": chosen,
        "size": size,
        "left_out_size": sum(file["size"] for file in files) - size,
    }


def to_file(sibling, endpoint):
    """A file as this collection notes it. The Hugging Face cache names a file's blob by the same hash.

    :raises OneccError: for what would lead outside the cache, or could not be checked
    """
    path, lfs = sibling.rfilename, sibling.lfs
    blob = lfs.sha256 if lfs else sibling.blob_id
    if path.startswith("/") or ".." in path.split("/"):
        raise OneccError(endpoint, "files below the model", "one named '%s'" % path, "Do not trust this hub.")
    if not blob or not BLOB.fullmatch(blob):
        raise OneccError(
            endpoint,
            "a hash for %s" % path,
            "none" if not blob else "'%s'" % blob,
            "Without it nothing can be checked: use a hub or mirror that passes hashes on.",
        )
    return {"path": path, "size": (lfs.size if lfs else sibling.size) or 0, "blob": blob}


def explain(error, repo, revision, endpoint):
    """An error of huggingface_hub in words that say what to do.

    Goes by the class names of huggingface_hub and by HTTP status, so that it is the same for every
    transport that huggingface_hub uses.

    :param error: what huggingface_hub raised
    :return: OneccError
    """
    names = {cls.__name__ for cls in type(error).__mro__}
    status = getattr(getattr(error, "response", None), "status_code", None)
    if "GatedRepoError" in names and status == 403:
        found = "that the account of the token has no access to it"
        remedy = "Ask for access on the model's page (%s/%s), and run this again once it is granted." % (endpoint, repo)
    elif "GatedRepoError" in names:
        found = "that its access is restricted, and no token"
        remedy = "Ask for access on the model's page, and give the token of an account that has it (HF_TOKEN)."
    elif status == 401 and "Invalid credentials" in str(error):
        found = "that the hub does not know the token"
        remedy = "Give a token that is valid (HF_TOKEN); tokens end when they expire or are revoked."
    elif "RevisionNotFoundError" in names:
        return OneccError(
            endpoint,
            "revision '%s' of model '%s'" % (revision, repo),
            "no such revision",
            "Give a branch, tag or commit that the model's page lists.",
        )
    elif "EntryNotFoundError" in names:
        return OneccError(
            endpoint,
            "all files of model '%s' that it lists" % repo,
            "one missing (%s)" % str(error).splitlines()[-1],
            "Try again later, or use another endpoint (HF_ENDPOINT): this one is not complete.",
        )
    elif "RepositoryNotFoundError" in names or "HFValidationError" in names or status in (401, 404):
        found = "no such model, or none that the token may see"
        remedy = "Check the spelling of the name (OWNER/NAME); a private or gated model needs a token (HF_TOKEN)."
    elif status == 403:
        found, remedy = "that the token may not read it", "Give a token with read access (HF_TOKEN)."
    elif status is not None:
        found, remedy = "HTTP status %d" % status, "Try again later, or use another endpoint (HF_ENDPOINT)."
    else:
        found = "no answer (%s)" % (str(error) or type(error).__name__)
        remedy = "Check the network from this host to the hub, or use another endpoint (HF_ENDPOINT)."
    return OneccError(endpoint, "the model '%s'" % repo, found, remedy)


def choose(files, include, exclude, duplicates):
    """The files that match a pattern of include, if there are any, and none of exclude.

    Patterns mean what they mean to huggingface_hub: those of fnmatch, where a slash at the end stands
    for all that is below.

    :param files: list of dictionaries with path
    :param duplicates: whether to take PyTorch's *.bin files also where there are safetensors
    """

    def fits(path, patterns):
        return any(fnmatch.fnmatch(path, p + "*" if p.endswith("/") else p) for p in patterns)

    chosen = [
        file for file in files if (not include or fits(file["path"], include)) and not fits(file["path"], exclude)
    ]
    if not duplicates and any(file["path"].endswith(".safetensors") for file in chosen):
        return [file for file in chosen if not file["path"].endswith(".bin")]
    return chosen
