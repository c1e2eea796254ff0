"""Gets code by the ``git`` command: one commit, without its history, and without leaking secrets.

Credentials travel to git by its environment, as the header of requests to that one host: they are
in no argument that other users of the machine see, in no configuration file, and in no message.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import os
import re
import shutil
import subprocess
import tempfile
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from headgate.core import errors

__all__ = ["Source", "fetch", "populate", "source", "split_url"]

_SHA = re.compile(r"[0-9a-fA-F]{4,64}")
_FULL_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
#: What no name of a branch or tag has in it; see git-check-ref-format.
_NOT_IN_REFS = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/$|\.$|\.lock$|^/")
_SECONDS_MAX = 600
#: Which user name goes with a token where none is given, by a word in the name of the host.
_TOKEN_USERS = {"bitbucket": "x-token-auth", "gitlab": "oauth2"}
_TOKEN_USER = "x-access-token"  # a user name, and GitHub's


class _Login(NamedTuple):
    user: str
    password: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What to get; made, and checked, by ``source``.

    Attributes:
        url: Where the repository is, without credentials.
        branch: A branch or a tag; None: the default branch.
        commit_sha: A commit, the first characters of its hash at least; None: the newest.
        include_submodules: Whether submodules come along.
        directories: The only folders that are wanted; empty: all.
        login: User and password; None: it is open to all, or git knows how to get in.
    """

    url: str
    branch: str | None = None
    commit_sha: str | None = None
    include_submodules: bool = False
    directories: tuple[str, ...] = ()
    login: _Login | None = dataclasses.field(default=None, repr=False)


def source(
    url: str,
    *,
    branch: str | None = None,
    commit_sha: str | None = None,
    include_submodules: bool = False,
    directories: Sequence[str] | None = None,
    username: str | None = None,
    password: str | None = None,
) -> Source:
    """Check what to get: nothing in it may look like an option to git.

    Raises:
        StorageError: A part of it is malformed.
    """
    _refuse_unless(bool(url) and not url.startswith("-"), "url", url, "give that of a repository")
    clean, login = split_url(url)
    if branch is not None:
        fits = bool(branch) and not branch.startswith("-") and not _NOT_IN_REFS.search(branch)
        _refuse_unless(fits, "branch", branch, "give the name of a branch or tag")
    if commit_sha is not None:
        fits = _SHA.fullmatch(commit_sha) is not None
        _refuse_unless(fits, "commit_sha", commit_sha, "give the hash of a commit")
    if branch is not None and commit_sha is not None:
        msg = "Both branch and commit_sha are given; give the one that is wanted."
        raise errors.StorageError(msg)
    if isinstance(directories, str):
        directories = [directories]
    for folder in directories or ():
        parts = folder.strip("/").split("/")
        fits = bool(folder.strip("/")) and not folder.startswith(("-", "/")) and ".." not in parts
        _refuse_unless(fits, "directories", folder, "give folders of the repository")
    if password is not None:
        login = _Login(username or _token_user(clean), password)
    return Source(
        url=clean,
        branch=branch,
        commit_sha=commit_sha.lower() if commit_sha else None,
        include_submodules=include_submodules,
        directories=tuple(directories or ()),
        login=login,
    )


def split_url(url: str) -> tuple[str, _Login | None]:
    """Take user and password out of a URL of the web."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or "@" not in parts.netloc:
        return url, None
    user, _, host = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    clean = parts._replace(netloc=host).geturl()
    unquote = urllib.parse.unquote
    if not password:  # https://TOKEN@host
        return clean, _Login(_token_user(clean), unquote(name))
    return clean, _Login(unquote(name), unquote(password))


def fetch(wanted: Source, cache: Path) -> Path:
    """Return a folder with what is wanted; it is got only where that commit is not there yet.

    Runs share the folder: what they write there is seen by others.

    Args:
        wanted: What to get.
        cache: Where the folders of commits are.

    Raises:
        StorageError: git failed; what it said is quoted.
    """
    what = f"{wanted.url}\n{wanted.include_submodules}\n{sorted(wanted.directories)}"
    parent = cache / base64.b32encode(_digest(what)).decode().rstrip("=").lower()
    commit = wanted.commit_sha or _newest(wanted)
    known = parent / commit
    if _FULL_SHA.fullmatch(commit) and known.is_dir():
        return known
    parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=parent, prefix=".draft-"))
    try:
        commit = populate(wanted, draft)
        known = parent / commit
        try:
            draft.rename(known)
        except OSError:
            if not known.is_dir():
                raise
            # Another run has been as quick; theirs is the same.
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return known


def populate(wanted: Source, folder: Path) -> str:
    """Get what is wanted into a folder: an empty one, or one that was populated before.

    Returns:
        The hash of the commit.

    Raises:
        StorageError: git failed, or the folder has something else in it.
    """
    git = functools.partial(_git, wanted, folder=folder)
    if (folder / ".git").exists():
        has = git("config", "--get", "remote.origin.url").strip()
        if has != wanted.url:
            msg = f"Folder {folder} has code of {has}, not of {wanted.url}; move it away."
            raise errors.StorageError(msg)
    elif folder.is_dir() and any(folder.iterdir()):
        msg = f"Folder {folder} is there already, and is no git repository; move it away."
        raise errors.StorageError(msg)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        git("init", "--quiet")
        git("remote", "add", "--", "origin", wanted.url)
    if wanted.directories:
        git("sparse-checkout", "set", "--", *wanted.directories)
    revision = _fetch_commit(wanted, folder)
    git("checkout", "--quiet", "--force", "--detach", revision)
    if wanted.include_submodules:
        git("submodule", "--quiet", "update", "--init", "--recursive", "--depth", "1")
    return git("rev-parse", "--verify", "HEAD").strip()


def _fetch_commit(wanted: Source, folder: Path) -> str:
    git = functools.partial(_git, wanted, folder=folder)
    shallow = ["fetch", "--quiet", "--depth", "1"]
    if wanted.directories:
        shallow.append("--filter=blob:none")
    if wanted.commit_sha is None:
        git(*shallow, "--", "origin", wanted.branch or "HEAD")
        return "FETCH_HEAD"
    if _FULL_SHA.fullmatch(wanted.commit_sha):
        try:
            git(*shallow, "--", "origin", wanted.commit_sha)
        except errors.StorageError:
            pass  # not every server gives out a commit by its hash alone: get all there are
        else:
            return "FETCH_HEAD"
    everything = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"]
    git("fetch", "--quiet", "--", "origin", *everything)
    return f"{wanted.commit_sha}^{{commit}}"


def _newest(wanted: Source) -> str:
    """Ask for the commit that the branch is at now.

    Raises:
        StorageError: There is no such branch, or git failed.
    """
    names = ["HEAD"]
    if wanted.branch is not None:
        branch = wanted.branch
        names = [f"refs/heads/{branch}", f"refs/tags/{branch}^{{}}", f"refs/tags/{branch}"]
    lines = _git(wanted, "ls-remote", "--", wanted.url, *names).splitlines()
    found = {name: commit for commit, _, name in (line.partition("\t") for line in lines)}
    for name in names:
        if name in found:
            return found[name]
    missing = "commit" if wanted.branch is None else f"branch or tag {wanted.branch!r}"
    msg = f"There is no {missing} in {wanted.url}; check the name, or push it."
    raise errors.StorageError(msg)


def _git(wanted: Source, *arguments: str, folder: Path | None = None) -> str:
    """Run git; returns what it printed.

    Raises:
        StorageError: It is not there, or it failed; what it said is quoted, without secrets.
    """
    where = [] if folder is None else ["-C", str(folder)]
    command = ["git", *where, *arguments]
    try:
        done = subprocess.run(
            command,
            env=_environment(wanted),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_SECONDS_MAX,
        )
    except FileNotFoundError:
        msg = f"The code of {wanted.url} is got by git, which is not installed; install git."
        raise errors.StorageError(msg) from None
    except subprocess.TimeoutExpired:
        msg = f"git {arguments[0]} of {wanted.url} took longer than {_SECONDS_MAX} seconds."
        raise errors.StorageError(msg) from None
    if done.returncode != 0:
        said = _without_secrets(done.stderr.strip() or f"exit code {done.returncode}", wanted)
        msg = f"git {arguments[0]} of {wanted.url} failed: {said}"
        raise errors.StorageError(msg)
    return done.stdout


def _environment(wanted: Source) -> Mapping[str, str]:
    # Nobody is there to be asked for a password, and a repository around must not matter.
    kept = {name: value for name, value in os.environ.items() if name not in _LOCAL_VARIABLES}
    environment = {**kept, "GIT_TERMINAL_PROMPT": "0", "GCM_INTERACTIVE": "never", "LC_ALL": "C"}
    environment.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
    settings = [("advice.detachedHead", "false"), ("gc.auto", "0")]
    if wanted.login is not None:
        settings += [
            (f"http.{_host(wanted.url)}.extraHeader", f"Authorization: Basic {_basic(wanted)}"),
            # What else the machine knows of the host must not get in the way.
            (f"credential.{_host(wanted.url)}.helper", ""),
        ]
    count = int(kept.get("GIT_CONFIG_COUNT") or 0)
    for number, (name, value) in enumerate(settings, count):
        environment[f"GIT_CONFIG_KEY_{number}"] = name
        environment[f"GIT_CONFIG_VALUE_{number}"] = value
    environment["GIT_CONFIG_COUNT"] = str(count + len(settings))
    return environment


#: They name another repository than the one meant, e.g. within a hook of git's.
_LOCAL_VARIABLES = frozenset(
    {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"}
)


def _without_secrets(text: str, wanted: Source) -> str:
    if wanted.login is None:
        return text
    quoted = urllib.parse.quote(wanted.login.password, safe="")
    for secret in (wanted.login.password, quoted, _basic(wanted)):
        if secret:
            text = text.replace(secret, "********")
    return text


def _basic(wanted: Source) -> str:
    assert wanted.login is not None
    return base64.b64encode(":".join(wanted.login).encode()).decode()


def _host(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/"


def _token_user(url: str) -> str:
    host = urllib.parse.urlsplit(url).netloc
    return next((user for word, user in _TOKEN_USERS.items() if word in host), _TOKEN_USER)


def _digest(text: str) -> bytes:
    import hashlib

    return hashlib.sha256(text.encode()).digest()[:10]


def _refuse_unless(fits: bool, field: str, value: str, remedy: str) -> None:
    if not fits:
        msg = f"{field} is {split_url(value)[0]!r}, which git must not be given; {remedy}."
        raise errors.StorageError(msg)
