"""What a page may send to its kernel; and that nothing else is read."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyter_server.services.kernels.connection.base import (
    deserialize_binary_message,
    deserialize_msg_from_ws_v1,
    serialize_binary_message,
    serialize_msg_to_ws_v1,
)

from benchmarks.serving import message
from lib.serving.dashboard.kernel_messages import MAX_BUFFERS, MAX_JSON, MAX_MESSAGE, V1, MessageError, read

UPDATE = message(
    "comm_msg", {"comm_id": "x", "data": {"method": "update", "state": {"value": "1"}, "buffer_paths": []}}
)


def in_every_format(whole, buffers=()):
    """The message as Jupyter's own front end sends it: text where it has no buffers, and both binary formats."""
    parts = [json.dumps(whole[name]).encode() for name in ("header", "parent_header", "metadata", "content")]
    if not buffers:
        yield json.dumps(whole), None
    yield serialize_binary_message({**whole, "buffers": list(buffers)}), None
    yield serialize_msg_to_ws_v1([*parts, *buffers], whole["channel"]), V1


@pytest.mark.parametrize("buffers", [[], [b"1,2\n" * 1000], [b""] * MAX_BUFFERS])
def test_reads_what_a_page_sends(buffers):
    for sent, protocol in in_every_format(UPDATE, buffers):
        assert read(sent, protocol) == ("shell", "comm_msg", UPDATE["header"]["msg_id"])
        if isinstance(sent, bytes):  # and Jupyter reads the same
            found = deserialize_msg_from_ws_v1(sent)[1][4:] if protocol else deserialize_binary_message(sent)["buffers"]
            assert [bytes(one) for one in found] == buffers


WRONG = {
    "sixteen million parts in four bytes": (struct.pack("!i", 16_000_000), None),
    "a negative count": (struct.pack("!i", -1), None),
    "no parts": (struct.pack("!i", 0), None),
    "nothing": (b"", None),
    "half a count": (b"\0\0", None),
    "a part beyond the end": (struct.pack("!III", 2, 12, 99) + b"{}", None),
    "parts that run backwards": (struct.pack("!III", 2, 14, 12) + b"{}", None),
    "parts that hide bytes": (struct.pack("!II", 1, 9) + b"x{}", None),
    "2**40 parts": (struct.pack("<Q", 2**40), V1),
    "2**64 - 1 parts": (b"\xff" * 64, V1),
    "too few parts": (struct.pack("<3Q", 2, 24, 24), V1),
    "ends beyond the end": (struct.pack("<7Q", 6, *[56] * 5, 2**63), V1),
    "text in a binary protocol": (json.dumps(UPDATE), V1),
    "no JSON": ("{", None),
    "a number": ("1", None),
    "deep": ('{"a":' * 20_000 + "1" + "}" * 20_000, None),
    "much": (json.dumps({**UPDATE, "metadata": {"x": "y" * MAX_JSON}}), None),
    "too long": (b"\0" * (MAX_MESSAGE + 1), V1),
    "not UTF-8": (struct.pack("!II", 1, 8) + b"\xff\xfe{}", None),
}


@pytest.mark.parametrize("sent", WRONG.values(), ids=WRONG.keys())
def test_refuses_what_does_not_fit(sent):
    with pytest.raises(MessageError):
        read(*sent)


def changed(**fields):
    return {**UPDATE, **fields}


def opened(target, data):
    return message("comm_open", {"comm_id": "x", "target_name": target, "data": data})


@pytest.mark.parametrize(
    "whole",
    [
        changed(channel="iopub"),
        changed(channel="stdin"),
        changed(channel="x" * 1000),
        changed(header={}),
        changed(header={"msg_type": ["comm_msg"], "msg_id": "1"}),
        changed(header={"msg_type": "comm_msg", "msg_id": 1}),
        changed(content={"data": []} | {"data": [1]}),
        changed(content={"data": {"method": "evaluate"}}),
        changed(parent_header=[]),
        opened("jupyter.widget", {"state": {}}),
        opened("jupyter.widget.control", {"x": 1}),
    ],
)
def test_refuses_what_no_page_sends(whole):
    for sent, protocol in in_every_format(whole):
        with pytest.raises(MessageError):
            read(sent, protocol)


def test_only_comms_have_buffers():
    for sent, protocol in in_every_format(opened("jupyter.widget.control", {}), [b"x"]):
        with pytest.raises(MessageError):
            read(sent, protocol)
    for sent, protocol in in_every_format(UPDATE, [b""] * (MAX_BUFFERS + 1)):
        with pytest.raises(MessageError):
            read(sent, protocol)


@given(st.one_of(st.binary(max_size=200), st.text(max_size=50)), st.sampled_from([None, V1]))
def test_any_message_is_read_or_refused(sent, protocol):
    try:
        channel, _, _ = read(sent, protocol)
    except MessageError as error:
        assert len(str(error)) < 1000
    else:
        assert channel in ("shell", "control")


@given(st.data())
def test_a_damaged_message_is_read_or_refused(data):
    sent, protocol = data.draw(st.sampled_from([one for one in in_every_format(UPDATE, [b"abc"])]))
    damaged = bytearray(sent)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        read(bytes(damaged), protocol)
    except MessageError:
        return
    if protocol:  # what is read, Jupyter reads too
        deserialize_msg_from_ws_v1(bytes(damaged))
    else:
        deserialize_binary_message(bytes(damaged))
