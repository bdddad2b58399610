"""An S3 server on this machine's loopback: moto in a process of its own, whose log tells every request.

``python tests/support/object_storage.py`` serves on a free port, which it prints.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAOFTHETESTS",
    "AWS_SECRET_ACCESS_KEY": "never/shown+to/anybody",
    "AWS_REGION": "us-east-1",
}
# What would lead elsewhere.
OTHERS = (
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL_S3",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)


@dataclass(frozen=True)
class Bucket:
    """A bucket as another client than ours sees it: boto3.

    Parameters
    ----------
    url : str
        ``s3://name``.
    """

    name: str
    client: Any

    @property
    def url(self) -> str:
        return f"s3://{self.name}"

    def listed(self, prefix: str = "") -> list[str]:
        """Every key that begins with a prefix."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def read(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def write(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=content)

    def contents(self, prefix: str = "") -> dict[str, bytes]:
        """Every object's bytes, by its key without the prefix."""
        return {key.removeprefix(prefix): self.read(key) for key in self.listed(prefix)}

    def make(self, contents: Mapping[str, bytes], prefix: str = "") -> None:
        """Let the objects with a prefix be these, and no others."""
        for key in self.listed(prefix):
            self.client.delete_object(Bucket=self.name, Key=key)
        for key, content in contents.items():
            self.write(f"{prefix}{key}", content)

    def upload(self, folder: Path, prefix: str) -> str:
        """Put every file of a folder under a prefix, and return its URL."""
        for path in folder.rglob("*"):
            if path.is_file():
                self.write(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())
        return f"{self.url}/{prefix}"


@dataclass(frozen=True)
class Server:
    """The server, and boto3's client of it."""

    endpoint: str
    client: Any

    def bucket(self, name: str) -> Bucket:
        return Bucket(name, self.client)


@contextmanager
def serving() -> Iterator[Server]:
    """Serve, with no bucket."""
    import boto3

    with subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True) as process:
        try:
            endpoint = process.stdout.readline().strip()
            client = boto3.client(
                "s3",
                endpoint_url=endpoint,
                region_name=KEYS["AWS_REGION"],
                aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
            )
            yield Server(endpoint, client)
        finally:
            process.kill()


if __name__ == "__main__":
    import logging

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
    print(f"http://127.0.0.1:{server.port}", flush=True)
    server.serve_forever()
