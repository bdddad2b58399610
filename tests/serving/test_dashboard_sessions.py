"""What the dashboard's server holds of its visitors after they have gone: nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import time
import weakref
from contextvars import ContextVar

import httpx
import psutil
import zmq
from serving_study import free_port, make_study, running, wait_for
from tornado.iostream import StreamClosedError
from tornado.log import gen_log
from zmq.eventloop.zmqstream import ZMQStream

from benchmarks.serving import open_many
from lib.serving.dashboard.server import is_news
from lib.serving.dashboard.voila_patches import call_later


def test_sessions_leave_nothing_in_the_server(tmp_path, monkeypatch):
    """Neither a kernel, nor an object that a timer or a circle of references keeps."""
    monkeypatch.setenv("STUDY_OUTPUTS", str(tmp_path / "outputs"))
    make_study(tmp_path / "outputs")
    held = tmp_path / "held.json"
    port = free_port()
    with running("counted_dashboard", str(held), port=port, log=tmp_path / "log") as url:
        [server] = [one for one in psutil.process_iter(["cmdline"]) if str(held) in (one.info["cmdline"] or [])]

        async def open_and_close() -> int:
            visitors, _ = await open_many(url, 4)
            at_once = len(server.children(recursive=True))
            for visitor in visitors:
                await visitor.close()
            return at_once

        for _ in range(2):
            assert asyncio.run(open_and_close()) >= 5  # four kernels and the process whose forks they are
        wait_for(lambda: httpx.get(f"{url}/health").json()["visitors"] == 0)
        time.sleep(3)  # less than any timer that might hold a session
        server.send_signal(signal.SIGUSR1)
        wait_for(held.exists)
        found = json.loads(held.read_text())
        assert found["HTTPServerRequest"] <= 1, found  # the signal may come while one is answered
        assert {found[name] for name in ("KernelManager", "ZMQStream", "Channel", "Connection")} == {0}, found
        assert len(server.children(recursive=True)) == 1


def test_a_visitor_who_leaves_is_no_line_in_the_log(caplog):
    async def leave():
        with zmq.Context() as context:
            stream = ZMQStream(context.socket(zmq.SUB))
            stream.close()
            stream._handle_events(None, zmq.POLLIN)  # as Tornado calls it for what was queued

    asyncio.run(leave())
    assert "Got events for closed stream" in caplog.text, "pyzmq says it no more: the filter can go"
    caplog.clear()
    gen_log.addFilter(is_news)
    try:
        asyncio.run(leave())
        gen_log.warning("Something else of %s", "Tornado")
        for error in (StreamClosedError(), ValueError("of ours")):
            record = gen_log.makeRecord("", logging.ERROR, "", 0, "Uncaught exception", (), (type(error), error, None))
            assert is_news(record) == isinstance(error, ValueError)
    finally:
        gen_log.removeFilter(is_news)
    assert [record.getMessage() for record in caplog.records] == ["Something else of Tornado"]


def test_a_timer_keeps_nothing_of_the_request_that_asked_for_it():
    variable = ContextVar("variable")

    async def request():
        thing = {0}  # a set: of what can be referred to weakly, the plainest
        variable.set(thing)
        call_later(60, print)
        return weakref.ref(thing)

    async def server():
        task = asyncio.create_task(request())
        thing = await task
        del task
        await asyncio.sleep(0.01)
        return thing()

    assert asyncio.run(server()) is None
