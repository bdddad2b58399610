"""The dashboard's server, which waits seconds for pages that are gone or never connect, for tests/serving/test_attacks.py."""

from __future__ import annotations

import sys

from lib.serving.dashboard import server, voila_patches

if __name__ == "__main__":
    server.OPEN_SECONDS = 8
    voila_patches.LEFT_SECONDS = 1
    sys.exit(server.main(sys.argv[1:]))
