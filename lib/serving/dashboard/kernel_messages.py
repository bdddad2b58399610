"""What a page may send to its kernel: websocket messages, checked before Jupyter reads them. Pure.

Jupyter trusts who speaks to a kernel: it builds a format string of as many fields as a message claims to have, and parses JSON of any size,
in the process that all visitors share. A page of ours sends widget messages and nothing else, so all else is refused here. Both
formats are described at
https://jupyter-server.readthedocs.io/en/latest/developers/websocket-protocols.html
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

V1 = "v1.kernel.websocket.jupyter.org"  # the subprotocol; without it a connection speaks the older format
MAX_MESSAGE = 12 * 2**20  # bytes of one message: the 10 MiB that the page allows for a file, and its envelope
MAX_JSON = 128 * 2**10  # bytes of a message's JSON; files come as buffers
MAX_BUFFERS = 16
CHANNELS = ("shell", "control")  # the others carry what the kernel asks, or tells everyone
CONTROL_TARGET = "jupyter.widget.control"  # the only comm that a page opens: it asks for the states of all widgets
COMM_METHODS = ("update", "custom", "request_state", "request_states")  # of an open comm's messages
FIELDS = ("header", "parent_header", "metadata", "content")
# What Jupyter's own list of allowed types has, less what a page of ours does not send.
TYPES = ("comm_open", "comm_close", "comm_msg", "comm_info_request", "kernel_info_request")


class MessageError(Exception):
    """A message that no page of ours sends; its connection is closed."""


def read(message: str | bytes, subprotocol: str | None) -> tuple[str, str, str]:
    """Check a message.

    Parameters
    ----------
    message : str or bytes
        As it came: text, or binary in the older format or in `V1`.
    subprotocol : str or None
        `V1`, or None for the older format.

    Returns
    -------
    channel, type, identity : str
        Where it goes; a type that is not in `TYPES` is to be ignored; ``msg_id``, by which the kernel's answers refer to it.

    Raises
    ------
    MessageError
        Its parts do not fit its length, its JSON is malformed or too large, or it is nothing that a page of ours sends.

    Examples
    --------
    >>> fields = {"header": {"msg_type": "comm_info_request", "msg_id": "1"}, "parent_header": {}, "metadata": {}, "content": {}}
    >>> read(json.dumps({**fields, "channel": "shell"}), None)
    ('shell', 'comm_info_request', '1')
    >>> read((16_000_000).to_bytes(4, "big"), None)
    Traceback (most recent call last):
        ...
    lib.serving.dashboard.kernel_messages.MessageError: a message of 4 bytes cannot have 16,000,000 parts
    """
    if len(message) > MAX_MESSAGE:
        raise MessageError(f"a message of {len(message):,} bytes; at most {MAX_MESSAGE:,} are read")
    buffers: list[bytes] = []
    if subprotocol == V1:
        if isinstance(message, str):
            raise MessageError("a text message, in a protocol of binary ones")
        channel, header, parent, metadata, content, *buffers = _parts(message, "little", 8, 6 + MAX_BUFFERS)
        whole = {name: _json(part) for name, part in zip(FIELDS, (header, parent, metadata, content), strict=True)}
        where: Any = channel.decode("utf-8", "replace")
    elif isinstance(message, bytes):
        text, *buffers = _parts(message, "big", 4, 1 + MAX_BUFFERS)
        whole = _json(text)
        where = whole.get("channel")
    else:
        whole = _json(message)
        where = whole.get("channel")
    if where not in CHANNELS:
        raise MessageError(f"the channel {str(where)[:40]!r}; a page sends to {' and '.join(CHANNELS)}")
    return where, *_checked(whole, bool(buffers))


def _parts(message: bytes, order: Any, width: int, most: int) -> list[bytes]:
    """The parts of a binary message: a count and as many offsets, each of ``width`` bytes, then the parts.

    In `V1` the offsets end with the last part's end, and there are six or more; in the older format its end is the message's.
    """
    count = int.from_bytes(message[:width], order)
    least = 6 if width == 8 else 1
    start = width * (1 + count)
    if len(message) < width or start > len(message):
        raise MessageError(f"a message of {len(message):,} bytes cannot have {count:,} parts")
    if not least <= count <= most:
        raise MessageError(f"a message of {count:,} parts; {least} to {most} are read")
    offsets = [int.from_bytes(message[at : at + width], order) for at in range(width, start, width)]
    if width == 4:
        offsets.append(len(message))
    if offsets[0] != start or offsets[-1] != len(message) or offsets != sorted(offsets):
        raise MessageError(f"the parts of a message of {len(message):,} bytes do not fill it: {offsets}")
    return [message[begin:end] for begin, end in pairwise(offsets)]


def _json(text: str | bytes) -> dict[str, Any]:
    if len(text) > MAX_JSON:
        raise MessageError(f"{len(text):,} bytes of JSON; at most {MAX_JSON:,} are read")
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        raise MessageError("not JSON") from None
    if not isinstance(read, dict):
        raise MessageError("not an object of JSON")
    return read


def _checked(message: dict[str, Any], has_buffers: bool) -> tuple[str, str]:
    """The type and the identity of a message, whose fields are as a page of ours fills them."""
    if missing := [name for name in FIELDS if not isinstance(message.get(name), dict)]:
        raise MessageError(f"no {missing[0]}, or it is not an object")
    kind, identity = (message["header"].get(name) for name in ("msg_type", "msg_id"))
    if not isinstance(kind, str) or not isinstance(identity, str):
        raise MessageError("no msg_type or no msg_id in the header")
    content = message["content"]
    data = content.get("data") or {}
    if not isinstance(data, dict):
        raise MessageError("data is not an object")
    method = data.get("method", "update" if kind == "comm_msg" else None)
    if kind == "comm_open" and (content.get("target_name") != CONTROL_TARGET or data or has_buffers):
        raise MessageError(
            f"a comm_open of {str(content.get('target_name'))[:40]!r}; a page opens {CONTROL_TARGET} alone"
        )
    if kind == "comm_msg" and method not in COMM_METHODS:
        raise MessageError(f"the method {str(method)[:40]!r}; a page uses {', '.join(COMM_METHODS)}")
    if has_buffers and kind != "comm_msg":
        raise MessageError(f"buffers with a {kind[:40]}")
    return kind, identity
