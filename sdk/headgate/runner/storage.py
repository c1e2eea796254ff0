"""Where the code of a flow is kept: a git repository, a bucket, a folder.

Each storage can get the code here (``pull_code``), and say how a runner gets it before a run
(``to_pull_step``).
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
import urllib.parse
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, cast, runtime_checkable

from headgate import _options, settings
from headgate._explaining import explained
from headgate.blocks._awaitable import DONE, Done
from headgate.core import errors
from headgate.runner import _git

if TYPE_CHECKING:
    from headgate.blocks.core import Block

__all__ = [
    "BlockStorageAdapter",
    "GitRepository",
    "LocalStorage",
    "RemoteStorage",
    "RunnerStorage",
    "StorageError",
    "create_storage_from_source",
]

StorageError = errors.StorageError

_STEPS = "headgate.deployments.steps"
_DEFAULT_INTERVAL_SECONDS = 60
_GIT_HOSTS = frozenset({"bitbucket.org", "codeberg.org", "github.com", "gitlab.com"})
_SCP_LIKE = re.compile(r"[\w.-]+@[\w.-]+:(?!//)\S+")


class GitCredentials(TypedDict, total=False):
    """Who is let in to a repository."""

    username: str
    access_token: str


@runtime_checkable
class RunnerStorage(Protocol):
    """A place of code; a class of one's own needs no base class.

    ``pull_code`` may be a coroutine function.
    """

    def set_base_path(self, path: Path) -> None:
        """Say in which folder the code is to be put."""
        ...

    @property
    def pull_interval(self) -> int | None:
        """For how many seconds code that was got is new enough; None: for ever."""
        ...

    @property
    def destination(self) -> Path:
        """The folder where the code is once it was got."""
        ...

    def pull_code(self) -> Any:
        """Get the code, or what has changed in it."""
        ...

    def to_pull_step(self) -> Mapping[str, Any]:
        """Return the pull step by which a runner gets the code: ``{name: inputs}``."""
        ...


class GitRepository:
    """A git repository.

    The command ``git`` gets the code: one commit, without its history.

    Args:
        url: Where it is; ``https://...``, ``git@host:path``, or a local path.
        credentials: Who is let in: ``{"access_token": ...}``, or ``{"username": ..., "password":
            ...}``, whose values may be ``Secret`` blocks; or a block with such fields.
        name: The name of the folder for the code. Default: that of the repository, and branch.
        branch: A branch or a tag. Default: the default branch.
        commit_sha: A commit, in the place of a branch.
        include_submodules: Whether submodules come along.
        pull_interval: For how many seconds code that was got is new enough; None: for ever.
        directories: The only folders that are wanted. Default: all.

    Raises:
        StorageError: A part is malformed, or looks like an option to git.
    """

    @explained
    def __init__(
        self,
        url: str,
        credentials: Mapping[str, Any] | Block | None = None,
        name: str | None = None,
        branch: str | None = None,
        commit_sha: str | None = None,
        include_submodules: bool = False,
        pull_interval: int | None = _DEFAULT_INTERVAL_SECONDS,
        directories: list[str] | None = None,
    ) -> None:
        """Describe a repository."""
        _options.checked_text(url, "url")
        _options.checked_text(branch, "branch")
        _options.checked_text(commit_sha, "commit_sha")
        _options.checked_text(name, "name")
        if directories is not None and not isinstance(cast("object", directories), str):
            _options.checked_tags(directories, "directories")
        self._credentials = credentials
        username, password = _login(credentials)
        self._source = _git.source(
            url,
            branch=branch,
            commit_sha=commit_sha,
            include_submodules=include_submodules,
            directories=directories,
            username=username,
            password=password,
        )
        self.pull_interval = pull_interval
        self._name = _folder_name(name if name is not None else self._default_name())
        self._base_path = Path.cwd()

    @property
    def url(self) -> str:
        """Where the repository is, without credentials."""
        return self._source.url

    @property
    def destination(self) -> Path:
        """The folder where the code is once it was got."""
        return self._base_path / self._name

    def set_base_path(self, path: Path) -> None:
        """Say in which folder the folder with the code is to be."""
        self._base_path = path

    def pull_code(self) -> Done:
        """Get the code, or what has changed in it.

        Raises:
            StorageError: git failed; what it said is quoted.
        """
        _git.populate(self._source, self.destination)
        return DONE

    def fetch(self, cache: Path) -> Path:
        """Return a folder with the code, got only where it is a new commit; for pull steps.

        Args:
            cache: Where such folders are; runs share them.

        Raises:
            StorageError: git failed; what it said is quoted.
        """
        return _git.fetch(self._source, cache)

    def to_pull_step(self) -> dict[str, Any]:
        """Return the pull step by which a runner gets the code.

        Raises:
            StorageError: The credentials are no saved blocks, and would be readable to all.
        """
        given = self._source
        inputs: dict[str, Any] = {"repository": given.url, "branch": given.branch}
        if given.commit_sha is not None:
            inputs["commit_sha"] = given.commit_sha
        if given.include_submodules:
            inputs["include_submodules"] = True
        if given.directories:
            inputs["directories"] = list(given.directories)
        credentials = self._credentials
        if credentials is None and given.login is not None:
            raise _unsaved("user and password in the URL")
        if isinstance(credentials, Mapping):
            inputs["credentials"] = {
                key: value if key == "username" else _placeholder(value, key)
                for key, value in credentials.items()
            }
        elif credentials is not None:
            inputs["credentials"] = _placeholder(credentials, "credentials")
        return {f"{_STEPS}.git_clone": inputs}

    def _default_name(self) -> str:
        path = self._source.url.rstrip("/").removesuffix(".git").rstrip("/")
        name = re.split(r"[/:]", path)[-1]
        branch = self._source.branch
        return f"{name}-{branch.replace('/', '-')}" if branch else name

    def __eq__(self, other: object) -> bool:
        """Two are equal when they get the same code into folders of one name."""
        if not isinstance(other, GitRepository):
            return NotImplemented
        return (self._source, self._name) == (other._source, other._name)

    def __hash__(self) -> int:
        """Hash by the code."""
        return hash((self._source, self._name))

    def __repr__(self) -> str:
        """``GitRepository(name='etl', url='https://...')``; no credentials."""
        return f"GitRepository(name={self._name!r}, url={self.url!r})"


class LocalStorage:
    """A folder of this machine, used where it is.

    Args:
        path: The folder.
        pull_interval: Taken for code that gives it; there is nothing to get.
    """

    @explained
    def __init__(self, path: str | Path, pull_interval: int | None = None) -> None:
        """Describe a folder."""
        if path is None:  # pyright: ignore[reportUnnecessaryComparison]  # callers may do anything
            msg = "path is None; use a text or a Path."
            raise errors.OptionTypeError(msg)
        _options.checked_path(path, "path")
        self._path = Path(path).expanduser().resolve()
        self.pull_interval = pull_interval

    @property
    def destination(self) -> Path:
        """The folder."""
        return self._path

    def set_base_path(self, path: Path) -> None:
        """Do nothing: it is used where it is."""

    def pull_code(self) -> Done:
        """Do nothing: the code is here."""
        return DONE

    def to_pull_step(self) -> dict[str, Any]:
        """Return the pull step by which a runner on this machine finds the code."""
        return {f"{_STEPS}.set_working_directory": {"directory": str(self._path)}}

    def __eq__(self, other: object) -> bool:
        """Two are equal when they are the same folder."""
        return other._path == self._path if isinstance(other, LocalStorage) else NotImplemented

    def __hash__(self) -> int:
        """Hash by the folder."""
        return hash(self._path)

    def __repr__(self) -> str:
        """``LocalStorage(path=PosixPath('/flows'))``."""
        return f"LocalStorage(path={self._path!r})"


class RemoteStorage:
    """A folder that fsspec reaches, such as ``s3://bucket/folder``.

    Args:
        url: Where it is; the scheme says which kind of place.
        pull_interval: For how many seconds code that was got is new enough; None: for ever.
        **settings: Options of the file system; values may be ``Secret`` blocks.

    Raises:
        StorageError: The URL has no scheme.
    """

    @explained
    def __init__(
        self, url: str, pull_interval: int | None = _DEFAULT_INTERVAL_SECONDS, **settings: Any
    ) -> None:
        """Describe a folder elsewhere."""
        _options.checked_text(url, "url")
        scheme = urllib.parse.urlsplit(url).scheme
        if not scheme or "://" not in url:
            msg = f"url is {url!r}; write it with a scheme, as in 's3://bucket/folder'."
            raise StorageError(msg)
        self._url = url
        self._scheme = scheme
        self._settings = settings
        self.pull_interval = pull_interval
        self._base_path = Path.cwd()

    @property
    def destination(self) -> Path:
        """The folder where the code is once it was got."""
        # Two folders of one name in different buckets are not to be mixed.
        name = self._remote_path.strip("/").replace("/", "-") or self._scheme
        return self._base_path / name

    @property
    def _remote_path(self) -> str:
        parts = urllib.parse.urlsplit(self._url)
        return f"{parts.netloc}{parts.path}"

    def set_base_path(self, path: Path) -> None:
        """Say in which folder the folder with the code is to be."""
        self._base_path = path

    def pull_code(self) -> Done:
        """Get all files, in the place of those that are there.

        Raises:
            StorageError: They cannot be reached; fsspec, or what it needs, may be missing.
        """
        self._get(self.destination)
        return DONE

    def fetch(self, cache: Path) -> Path:
        """Return a folder with the files, got only where they have changed; for pull steps.

        Args:
            cache: Where such folders are.
        """
        try:
            listed = self._open().find(self._remote_path, detail=True)
        except Exception as error:  # each kind of file system raises errors of its own
            raise self._failed(error) from None
        facts = json.dumps([self._url, listed], sort_keys=True, default=_fact)
        known = cache / hashlib.sha256(facts.encode()).hexdigest()[:32]
        if known.is_dir():
            return known
        cache.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=cache, prefix=".draft-"))
        try:
            self._get(draft)
            try:
                draft.rename(known)
            except OSError:
                if not known.is_dir():
                    raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return known

    def _get(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            source = f"{self._remote_path.rstrip('/')}/"
            self._open().get(source, f"{folder}/", recursive=True)
        except Exception as error:  # each kind of file system raises errors of its own
            raise self._failed(error) from None

    def _open(self) -> Any:
        try:
            import fsspec  # an extra, and only for those who use it
        except ImportError:
            msg = f"{self._url} is reached by fsspec; run pip install 'headgate[storage]'."
            raise StorageError(msg) from None
        return fsspec.filesystem(self._scheme, **_plain(self._settings))

    def _failed(self, error: Exception) -> Exception:
        if isinstance(error, StorageError):
            return error
        said = f"{type(error).__name__}: {error}"
        for secret in _texts(_plain(self._settings)):
            said = said.replace(secret, "********") if len(secret) > 3 else said
        msg = f"The code in {self._url} could not be got: {said}"
        return StorageError(msg)

    def to_pull_step(self) -> dict[str, Any]:
        """Return the pull step by which a runner gets the code; blocks in it stay references."""
        inputs = {"url": self._url, **_with_placeholders(self._settings)}
        return {f"{_STEPS}.pull_from_remote_storage": inputs}

    def __eq__(self, other: object) -> bool:
        """Two are equal when they have URL and options in common."""
        if not isinstance(other, RemoteStorage):
            return NotImplemented
        return (self._url, self._settings) == (other._url, other._settings)

    def __hash__(self) -> int:
        """Hash by the URL."""
        return hash(self._url)

    def __repr__(self) -> str:
        """``RemoteStorage(url='s3://...')``."""
        return f"RemoteStorage(url={self._url!r})"


class BlockStorageAdapter:
    """A saved block that has files, such as ``RemoteFileSystem``.

    Args:
        block: It has a method ``get_directory``.
        pull_interval: For how many seconds code that was got is new enough; None: for ever.

    Raises:
        StorageError: The block has no such method.
    """

    @explained
    def __init__(self, block: Any, pull_interval: int | None = _DEFAULT_INTERVAL_SECONDS) -> None:
        """Describe the code in a block."""
        if not callable(getattr(block, "get_directory", None)):
            msg = (
                f"A {type(block).__name__} has no code to give; use a block with get_directory, "
                "such as RemoteFileSystem."
            )
            raise StorageError(msg)
        self._block = block
        self.pull_interval = pull_interval
        self._base_path = Path.cwd()

    @property
    def destination(self) -> Path:
        """The folder where the code is once it was got."""
        name = getattr(self._block, "_block_document_name", None) or "block"
        return self._base_path / name

    def set_base_path(self, path: Path) -> None:
        """Say in which folder the folder with the code is to be."""
        self._base_path = path

    def pull_code(self) -> Any:
        """Get all files."""
        self.destination.mkdir(parents=True, exist_ok=True)
        return self._block.get_directory(local_path=str(self.destination))

    def to_pull_step(self) -> dict[str, Any]:
        """Return the pull step by which a runner gets the code.

        Raises:
            StorageError: The block is not saved.
        """
        # {{ headgate.blocks.type.name }} names it as the step does.
        _headgate, _blocks, slug, name = (
            _placeholder(self._block, "block").strip("{} ").split(".", 3)
        )
        inputs = {"block_type_slug": slug, "block_document_name": name}
        return {f"{_STEPS}.pull_with_block": inputs}

    def __eq__(self, other: object) -> bool:
        """Two are equal when their blocks are."""
        if not isinstance(other, BlockStorageAdapter):
            return NotImplemented
        return bool(self._block == other._block)

    def __hash__(self) -> int:
        """Hash by the kind of block: blocks may change."""
        return hash(BlockStorageAdapter)


def create_storage_from_source(
    source: str, pull_interval: int | None = _DEFAULT_INTERVAL_SECONDS
) -> RunnerStorage:
    """Guess which kind of place a text means.

    A URL or an address of git's is a repository, a path is a folder of this machine, and any other
    URL is one that fsspec reaches.

    Args:
        source: E.g. ``https://github.com/org/repo``, ``git@host:repo``, ``s3://bucket/folder``, or
            ``./flows``.
        pull_interval: For how many seconds code that was got is new enough.
    """
    parts = urllib.parse.urlsplit(source)
    scheme = parts.scheme.lower()
    is_web = scheme in ("http", "https")
    if (
        scheme in ("git", "ssh")
        or scheme.startswith("git+")
        or _SCP_LIKE.fullmatch(source)
        or ("://" in source and parts.path.endswith(".git"))
        or (is_web and parts.hostname in _GIT_HOSTS)
    ):
        return GitRepository(source.removeprefix("git+"), pull_interval=pull_interval)
    if scheme in ("file", "local") and "://" in source:
        return LocalStorage(f"{parts.netloc}{urllib.parse.unquote(parts.path)}")
    if "://" in source:
        return RemoteStorage(source, pull_interval=pull_interval)
    return LocalStorage(source)


def of_source(source: Any) -> RunnerStorage:
    """Return the storage of what ``Flow.from_source`` was given.

    Raises:
        OptionTypeError: It is no place of code.
    """
    if isinstance(source, (str, Path)):
        _options.checked_path(source, "source")
        return create_storage_from_source(str(source))
    if isinstance(source, RunnerStorage):
        return source
    if callable(getattr(source, "get_directory", None)):
        return BlockStorageAdapter(source)
    msg = (
        f"source is {source!r}; use a URL, a path, a storage such as GitRepository, or a block "
        "with get_directory."
    )
    raise errors.OptionTypeError(msg)


def folder_of_pulled_code() -> Path:
    """Return the folder of this user in which code that was got is kept."""
    return settings.current().home.expanduser() / "pulled"


def _login(credentials: Any) -> tuple[str | None, str | None]:
    """Find a user and a password, or a token, in credentials.

    Raises:
        StorageError: There is no token and no password in them.
    """
    if credentials is None:
        return None, None
    if isinstance(credentials, str) or hasattr(credentials, "get_secret_value"):
        return None, _plain(credentials)
    found: dict[str, Any] = {}
    for name in ("username", "access_token", "token", "password", "value"):
        if isinstance(credentials, Mapping):
            value = cast("Mapping[str, Any]", credentials).get(name)
        else:
            value = getattr(credentials, name, None)
        if value is not None:
            found[name] = _plain(value)
    username = found.pop("username", None)
    if not found:
        msg = (
            "The credentials have neither an access_token nor a password; give "
            "{'access_token': Secret.load('name')}, or {'username': ..., 'password': ...}."
        )
        raise StorageError(msg)
    return username, str(next(iter(found.values())))


def _plain(value: Any) -> Any:
    """Replace secrets, and blocks of secrets, by what they hold."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in cast("Mapping[str, Any]", value).items()}
    if hasattr(value, "get_secret_value"):
        return value.get_secret_value()
    return _plain(value.get()) if hasattr(value, "get_block_placeholder") else value


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, Mapping):
        for part in cast("Mapping[str, Any]", value).values():
            yield from _texts(part)
    elif isinstance(value, str):
        yield value


def _with_placeholders(value: Any) -> Any:
    if isinstance(value, Mapping):
        pairs = cast("Mapping[str, Any]", value).items()
        return {key: _with_placeholders(part) for key, part in pairs}
    if hasattr(value, "get_block_placeholder") or hasattr(value, "get_secret_value"):
        return _placeholder(value, "settings")
    return value


def _placeholder(value: Any, what: str) -> str:
    """Return what stands for a saved block in a pull step.

    Raises:
        StorageError: It is no saved block.
    """
    make = getattr(value, "get_block_placeholder", None)
    if make is None:
        raise _unsaved(what)
    try:
        return "{{ " + make() + " }}"
    except errors.BlockNotSavedError:
        raise _unsaved(what) from None


def _unsaved(what: str) -> errors.StorageError:
    return StorageError(
        f"A deployment would show its {what} to all who can read it; save a block with them, e.g. "
        "Secret(value=...).save('git-token'), and give that: {'access_token': "
        "Secret.load('git-token')}."
    )


def _folder_name(name: str) -> str:
    if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
        msg = f"name is {name!r}, and becomes the name of a folder; leave separators away."
        raise StorageError(msg)
    return name


def _fact(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else repr(value)
