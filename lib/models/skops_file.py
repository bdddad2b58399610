"""Files of skops that are the same bytes for the same objects, whatever Python wrote them, and that hold no types but those allowed."""

from __future__ import annotations

import io
import re
import struct
import unittest.mock
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import sklearn.utils

# skops 0.16 trusts every estimator of scikit-learn and imports all of its modules to name them, for up to a second and a half
# (https://github.com/skops-dev/skops/pull/237). Here it trusts none but those that a file's reader allows.
with unittest.mock.patch.object(sklearn.utils, "all_estimators", list):
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException


def to_bytes(content: object) -> bytes:
    """Objects as skops saves them.

    Parameters
    ----------
    content : object
        Where a part of it is referred to twice decides the bytes too.
    """
    # skops names things by their address in memory and stamps the time; number them in order of appearance instead.
    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(content))) as saved:
        schema = saved.read("schema.json").decode()
        ids = re.findall(r'"__id__": (\d+)', schema)
        numbers = {found: str(n) for n, found in enumerate(dict.fromkeys(ids), start=1)}
        schema = re.sub(r'"__id__": (\d+)', lambda match: f'"__id__": {numbers[match[1]]}', schema)
        schema = re.sub(r'"(\d+)\.npy"', lambda match: f'"{numbers[match[1]]}.npy"', schema)
        members = {f"{numbers[name[:-4]]}.npy": saved.read(name) for name in saved.namelist() if name.endswith(".npy")}
    members["schema.json"] = schema.encode()
    return stored_zip({name: members[name] for name in sorted(members, key=lambda name: (len(name), name))})


def stored_zip(members: Mapping[str, bytes]) -> bytes:
    """A zip archive of uncompressed members.

    Its format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT. Not written by `zipfile`, whose headers differ between CPython 3.11.2 and 3.11.7
    (https://github.com/python/cpython/issues/103861), nor compressed, since another zlib compresses otherwise.

    Parameters
    ----------
    members : mapping of str to bytes
        In the order of the archive; less than 4 GB and 65,536 members in all.
    """
    files, directory = b"", b""
    for name, content in members.items():
        # Version 2.0, no flags, stored, 1980-01-01 00:00; then CRC, both sizes, the lengths of name and extra field.
        common = struct.pack("<5H3I2H", 20, 0, 0, 0, 33, zlib.crc32(content), len(content), len(content), len(name), 0)
        # Version made by; then no comment, disk 0, no attributes, and where the member begins.
        entry = struct.pack("<4sH", b"PK\x01\x02", 20) + common + struct.pack("<3H2I", 0, 0, 0, 0, len(files))
        directory += entry + name.encode("ascii")
        files += b"PK\x03\x04" + common + name.encode("ascii") + content
    count = len(members)
    return files + directory + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, len(directory), len(files), 0)


def load(path: Path, trusted: Sequence[str] = ()) -> Any:
    """Load what a file holds; one with a type beside ``trusted`` and those that skops knows is refused with a ValueError."""
    try:
        return loads(path.read_bytes(), trusted)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def loads(content: bytes, trusted: Sequence[str] = ()) -> Any:
    """As `load`, from the bytes of a file."""
    try:
        return skops.io.loads(content, trusted=list(trusted))
    except UntrustedTypesFoundException:
        untrusted = sorted(set(skops.io.get_untrusted_types(data=content)) - set(trusted))
        allowed = ", ".join(trusted) or "arrays, numbers and text"
        raise ValueError(f"holds {', '.join(untrusted)}; allowed: {allowed}. Do not load it") from None
