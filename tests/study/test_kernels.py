"""The kernels of a run: forks that have the packages, and draw as any kernel does."""

from __future__ import annotations

import pytest
from jupyter_client.manager import start_new_kernel
from jupyter_client.provisioning.factory import KernelProvisionerFactory

from lib.compute import forked_kernels
from lib.study import kernels

DRAWN = "import sys; print('pandas' in sys.modules)\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]);"


def shown(code: str) -> tuple[str, list[list[str]]]:
    """What a kernel prints, and the types of what it displays."""
    manager, client = start_new_kernel()
    messages: list[dict] = []
    client.execute_interactive(code, timeout=120, output_hook=messages.append)
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    texts = [message["content"]["text"] for message in messages if message["msg_type"] == "stream"]
    pictures = [sorted(message["content"]["data"]) for message in messages if message["msg_type"] == "display_data"]
    return "".join(texts), pictures


@pytest.mark.skipif(not forked_kernels.SUPPORTED, reason="kernels are forked on Linux alone")
def test_a_figure_of_pyplot_is_shown_as_in_any_kernel(monkeypatch):
    monkeypatch.delenv("MPLBACKEND", raising=False)
    with kernels.environment():
        forked = shown(DRAWN)
        monkeypatch.setattr(KernelProvisionerFactory.instance(), "default_provisioner_name", "local-provisioner")
        usual = shown(DRAWN)
    assert forked == ("True\n", [["image/png", "text/plain"]])
    assert usual == ("False\n", [["image/png", "text/plain"]])
