"""The dashboard's server, which counts on SIGUSR1 what it holds of its visitors, for tests/test_sessions.py.

``python -m counted_dashboard FILE --port PORT`` writes the counts to FILE, as JSON.
"""

from __future__ import annotations

import gc
import json
import signal
import sys
from collections import Counter
from pathlib import Path

from jupyter_client.manager import KernelManager
from tornado.httputil import HTTPServerRequest
from zmq.eventloop.zmqstream import ZMQStream

from lib import files
from lib.serving.dashboard import server, voila_patches

COUNTED = (KernelManager, HTTPServerRequest, ZMQStream, voila_patches.Channel, voila_patches.Connection)


def count(location: Path) -> None:
    """Write how many objects of each class of `COUNTED` there are; the collector has left only what something holds."""
    gc.collect()
    found = Counter(kind.__name__ for each in gc.get_objects() for kind in COUNTED if isinstance(each, kind))
    files.write_atomically(location, json.dumps({kind.__name__: found[kind.__name__] for kind in COUNTED}))


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, lambda *_: count(Path(sys.argv[1])))
    sys.exit(server.main(sys.argv[2:]))
