"""An S3 server on this machine's loopback: moto in a process of its own, whose log tells every request.

``python tests/support/object_storage.py`` serves on a free port, which it prints.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

KEYS = {"AWS_ACCESS_KEY_ID": "who", "AWS_SECRET_ACCESS_KEY": "says", "AWS_REGION": "us-east-1"}
NONE = ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3", "AWS_WEB_IDENTITY_TOKEN_FILE")


@dataclass(frozen=True)
class Server:
    """The server, and boto3's client of it."""

    endpoint: str
    client: object

    def keys(self, bucket: str, prefix: str = "") -> dict[str, int]:
        """Every object's size by its key."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", [])}

    def content(self, bucket: str, key: str) -> bytes:
        """The bytes of an object."""
        return self.client.get_object(Bucket=bucket, Key=key)["Body"].read()

    def everything(self, bucket: str, prefix: str = "") -> dict[str, bytes]:
        """The bytes of every object by its key, without ``prefix``."""
        return {key.removeprefix(prefix): self.content(bucket, key) for key in self.keys(bucket, prefix)}

    def upload(self, bucket: str, folder, prefix: str) -> None:
        """Put every file of a folder under a prefix."""
        for path in folder.rglob("*"):
            if path.is_file():
                key = f"{prefix}/{path.relative_to(folder).as_posix()}"
                self.client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())


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
