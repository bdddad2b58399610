"""Places on object storage, with the few operations that datasets and archives need there; on a disk, pathlib has them.

A `Url` stands where a `pathlib.Path` would: ``s3://bucket/prefix``, ``gs://...``, ``abfs://container@account.dfs.core.windows.net/...``.
Credentials, region and endpoint are found as every tool of the provider finds them (environment variables, ``~/.aws``, the
machine's role); none is ever in a `Url`.

The client is obstore: pyarrow's file systems write no object on a condition (`apache/arrow#44281
<https://github.com/apache/arrow/issues/44281>`_), and begin a multipart upload for every file, which a killed run would
leave behind. It is imported where it is used: the dashboard's kernels import this module.
"""

from __future__ import annotations

import configparser
import datetime
import errno
import functools
import io
import os
import posixpath
import re
import stat
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AT_ONCE = 16  # requests of one process: one takes tens of milliseconds, whatever it asks for
_URL = re.compile(r"(s3|gs|abfss?):/{1,2}([^/]+)(/.*)?")  # one slash is left where pathlib had it


class LocationError(OSError):
    """Object storage that is not there, does not answer, or refuses; the text says what to do."""


class ChangedError(LocationError):
    """An object is another than the one that was to be replaced."""


@dataclass(frozen=True, order=True)
class Url:
    """A location on object storage: scheme and bucket, ``s3://bucket``, and the key without slashes at its ends.

    Examples
    --------
    >>> folder = location("s3://bucket/studies/sample/prices")
    >>> str(folder / "../.prices" / "manifest.json"), folder.name, str(folder.parent)
    ('s3://bucket/studies/sample/.prices/manifest.json', 'prices', 's3://bucket/studies/sample')
    """

    root: str
    key: str

    def __str__(self) -> str:
        return f"{self.root}/{self.key}" if self.key else self.root

    def __fspath__(self) -> str:
        """For pyarrow and pandas, which read URLs too."""
        return str(self)

    def __truediv__(self, name: str) -> Url:
        return Url(self.root, posixpath.normpath(f"/{self.key}/{name}").strip("/"))

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]

    @property
    def parent(self) -> Url:
        """The prefix that it is in."""
        return Url(self.root, self.key.rpartition("/")[0])

    def with_name(self, name: str) -> Url:
        """Another name in the same prefix."""
        return self.parent / name

    def is_relative_to(self, other: Url) -> bool:
        """Whether it is ``other`` or in it."""
        return self.root == other.root and f"{self.key}/".startswith(f"{other.key}/" if other.key else "")

    def is_file(self) -> bool:
        """Whether there is an object of this name."""
        try:
            return bool(self.key) and size(self) >= 0
        except FileNotFoundError:
            return False


Location = Path | Url


def location(text: str | Location) -> Location:
    """What a text names: a `Url`, or a path of this machine."""
    if isinstance(text, Url):
        return text
    found = _URL.fullmatch(str(text))
    return Url(f"{found[1]}://{found[2]}", (found[3] or "").strip("/")) if found else Path(text)


@dataclass(frozen=True)
class _File:
    """A file of this machine to read pieces of."""

    descriptor: int

    @property
    def size(self) -> int:
        return os.fstat(self.descriptor).st_size

    def read(self, count: int, start: int) -> bytes:
        """At most ``count`` bytes from ``start``; fewer where the file ends."""
        return os.pread(self.descriptor, count, start)


@dataclass(frozen=True)
class _Object:
    """The same for an object."""

    url: Url
    known: int | None

    @property
    def size(self) -> int:
        return size(self.url) if self.known is None else self.known

    def read(self, count: int, start: int) -> bytes:
        count = min(count, self.size - start)
        return bytes(_ask(self.url, "get_range", start=start, length=count)) if count > 0 else b""


Opened = _File | _Object


@contextmanager
def opened(file: Location, known: int | None = None) -> Iterator[Opened]:
    """Open a regular file or an object for reading; not a FIFO, whose reader would wait for ever.

    Parameters
    ----------
    known : int, optional
        The size that a listing gave an object, which need not be asked for then.
    """
    if isinstance(file, Url):
        yield _Object(file, known)
        return
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)  # not to wait for a FIFO's writer
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("not a regular file")
        yield _File(descriptor)
    finally:
        os.close(descriptor)


class _Stream(io.RawIOBase):
    """An object as Python's kind of file; obstore's own has no ``closed``, which pyarrow asks for."""

    def __init__(self, file: _Object) -> None:
        self._file = file
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._file.size}[whence]
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        content = self._file.read(len(buffer), self._position)
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)


def stream(file: Location) -> Any:
    """What pyarrow reads a file from, piece by piece: its path, or an object of Python's kind of file."""
    if isinstance(file, Path):
        return str(file)
    return io.BufferedReader(_Stream(_Object(file, size(file))), 1 << 18)  # a request takes as long as so many bytes


def size(url: Url) -> int:
    """Bytes of an object; FileNotFoundError where there is none."""
    return int(_ask(url, "head")["size"])


def read(url: Url) -> memoryview:
    """The bytes of an object."""
    return memoryview(_ask(url, "get").bytes())


def read_version(url: Url) -> tuple[memoryview, dict[str, str]]:
    """The bytes of an object, and which version of it they are, for `replace`."""
    found = _ask(url, "get")
    return memoryview(found.bytes()), {key: found.meta[key] for key in ("e_tag", "version") if found.meta[key]}


def write(url: Url, content: bytes | memoryview) -> None:
    """Write an object, all of it or nothing: one request."""
    # obstore takes no signed bytes, which is what Arrow's buffers say they hold.
    _ask(url, "put", memoryview(content).cast("B"), use_multipart=False)


def upload(file: Path, url: Url) -> None:
    """Write an object of any size, from a file."""
    _ask(url, "put", file)


def replace(url: Url, content: bytes, version: Mapping[str, str] | None) -> None:
    """Write an object, or raise `ChangedError` if it has changed.

    Parameters
    ----------
    version : dict of str to str or None
        As `read_version` gave it; None: there was no such object.
    """
    _ask(url, "put", content, mode=dict(version) if version else "create")


def copy(source: Url, target: Url) -> None:
    """Copy an object within its bucket; the storage does it."""
    _ask(source, "copy", target.key)


def remove(urls: Sequence[Url]) -> None:
    """Remove objects of one bucket."""
    if urls:
        import obstore

        with _explained(urls[0]):
            obstore.delete(_store(urls[0].root), [url.key for url in urls])


def children(folder: Url) -> dict[str, int]:
    """The objects directly in a prefix, and their sizes."""
    found = _ask(folder, "list_with_delimiter")["objects"]
    return {entry["path"].rpartition("/")[2]: entry["size"] for entry in found}


def everything(folder: Url) -> dict[str, tuple[int, str]]:
    """The objects anywhere in a prefix, by their names within it: size, and the tag that changes with the content."""
    start = len(folder.key) + 1 if folder.key else 0
    with _explained(folder):
        return {
            entry["path"][start:]: (entry["size"], entry["e_tag"] or str(entry["last_modified"]))
            for entries in _ask(folder, "list")
            for entry in entries
        }


def ahead(function: Callable[[Item], Result], items: Iterable[Item], at_once: int = AT_ONCE) -> Iterator[Result]:
    """Call a function that waits for storage on items, some at once; its results come in the order of the items."""
    with ThreadPoolExecutor(at_once) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * at_once:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def check(folder: Url, writing: bool = False) -> None:
    """Find out at once, and not after hours, whether a prefix can be read, or written to; `LocationError` if not."""
    _ask(folder, "list_with_delimiter", patient=False)
    if not writing:
        return
    trial = folder / f".can-this-be-written-{uuid.uuid4().hex}"
    replace(trial, b"", None)
    try:
        replace(trial, b"", None)
    except ChangedError:
        return
    finally:
        remove([trial])
    raise LocationError(
        f"{folder}: this storage ignores the condition of a write (If-None-Match), without which two runs could mix their "
        "datasets; take one that has conditional writes"
    )


def _ask(url: Url, what: str, *arguments: Any, patient: bool = True, **options: Any) -> Any:
    """Send one request about ``url`` by obstore's function of that name."""
    import obstore

    with _explained(url):
        return getattr(obstore, what)(_store(url.root, patient), url.key, *arguments, **options)


@functools.cache
def _store(root: str, patient: bool = True) -> Any:
    from obstore.store import from_url

    profile = _aws_profile() if root.startswith("s3:") else {}
    endpoint = (
        os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or profile.get("endpoint_url")
    )
    options: dict[str, Any] = {
        "config": profile or None,
        "client_options": {
            "allow_http": (endpoint or "").startswith("http:"),
            "connect_timeout": "5s",
            "timeout": "10min",  # of a whole request, such as a part of 50 MB
            "read_timeout": "30s",
        },
        "retry_config": {
            "max_retries": 8 if patient else 1,
            "retry_timeout": datetime.timedelta(seconds=120 if patient else 5),
        },
    }
    return from_url(root, **options)


def _aws_profile() -> dict[str, str]:
    """What ``~/.aws`` says and the environment does not; obstore itself knows the environment and the machine's role."""
    profile = os.environ.get("AWS_PROFILE") or "default"
    found: dict[str, str] = {}
    for variable, file, section in (
        ("AWS_CONFIG_FILE", "config", "default" if profile == "default" else f"profile {profile}"),
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials", profile),
    ):
        parser = configparser.RawConfigParser()
        parser.read(os.environ.get(variable) or Path.home() / ".aws" / file, encoding="utf-8")
        found |= dict(parser[section]) if parser.has_section(section) else {}
    wanted = {
        "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
        "endpoint_url": ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"),
        **dict.fromkeys(
            ("aws_access_key_id", "aws_secret_access_key", "aws_session_token"),
            ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE"),
        ),
    }
    return {key: found[key] for key, set_by in wanted.items() if key in found and not any(map(os.environ.get, set_by))}


@contextmanager
def _explained(url: Url) -> Iterator[None]:
    """Say what is wrong with the storage in a sentence; what obstore says may quote the storage's answer, with a key in it."""
    from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

    try:
        yield
    except (AlreadyExistsError, PreconditionError):
        raise ChangedError(f"{url}: changed by somebody else at the same time") from None
    except (FileNotFoundError, BaseError) as error:
        reason = next((reason for pattern, reason in _REASONS if re.search(pattern, str(error))), "")
        if isinstance(error, FileNotFoundError) and not reason:
            raise FileNotFoundError(errno.ENOENT, "no such object", str(url)) from None
        raise LocationError(f"{url}: {reason or _code(str(error))}") from None


_REASONS = (
    (r"NoSuchBucket|ContainerNotFound|bucket does not exist", "no such bucket: make it, or correct the name"),
    (
        r"169\.254\.169\.254|latest/api/token|latest/meta-data|metadata\.google|oauth2|Account must be specified",
        "no credentials: set them in the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
        "GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY) or in ~/.aws/credentials, "
        "or give this machine a role",
    ),
    (
        r"40[13] |AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|Forbidden|Unauthorized",
        "access denied: are these the right credentials, and may they list, read, write and delete here?",
    ),
    (
        r"error sending request|connection|timed out|dns error",
        "the storage does not answer: is the network up, and the endpoint (AWS_ENDPOINT_URL) right?",
    ),
)


def _code(text: str) -> str:
    """The code of an error in the storage's answer, or that of HTTP."""
    found = re.search(r"<Code>(\w+)</Code>|status code: (\d{3})", text)
    return f"the storage answers {found[1] or found[2]}" if found else text.partition("\n")[0][:200]
