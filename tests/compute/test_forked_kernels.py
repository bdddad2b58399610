"""Kernels that are forks of one process: what they are given, and when they end."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from jupyter_client.manager import KernelManager, start_new_kernel
from jupyter_client.provisioning.factory import KernelProvisionerFactory

from lib import paths
from lib.compute import forked_kernels
from lib.compute.forked_kernels import ForkedProcess, ForkServer, started_by

pytestmark = pytest.mark.skipif(not forked_kernels.SUPPORTED, reason="kernels are forked on Linux alone")

SERVER = ("-c", "from lib.compute import forked_kernels; forked_kernels.serve(['fractions'])")


@pytest.fixture
def server():
    with started_by(made := ForkServer(*SERVER)):
        yield made


def ended(pid: int) -> bool:
    for _ in range(200):
        if not psutil.pid_exists(pid):
            return True
        time.sleep(0.05)
    return False


def asked(client, code: str) -> str:
    """What the code prints in the kernel."""
    printed = []
    client.execute_interactive(
        code, timeout=60, output_hook=lambda message: printed.append(message["content"].get("text", ""))
    )
    return "".join(printed)


def test_a_kernel_is_a_fork_with_its_own_folder_and_environment(server, tmp_path):
    manager, client = start_new_kernel(cwd=str(tmp_path), env={**os.environ, "MARK": "of this kernel"})
    code = "import os, sys, json; print(json.dumps([os.getppid(), os.getcwd(), os.environ['MARK'], 'fractions' in sys.modules, os.getsid(0) == os.getpid()]))"
    answer = json.loads(asked(client, code))
    assert answer == [server.pid, str(tmp_path), "of this kernel", True, True]
    manager.shutdown_kernel(now=True)
    client.stop_channels()


def test_the_second_kernel_finds_what_is_imported_later_and_nothing_of_the_first(server):
    answers = []
    server.later = ("wave",)
    for _ in range(2):
        manager, client = start_new_kernel()
        answers.append(asked(client, "import sys; print('wave' in sys.modules, 'left' in globals()); left = 1"))
        manager.shutdown_kernel(now=True)
        client.stop_channels()
    assert answers == ["False False\n", "True False\n"]


def test_a_fork_server_that_was_started_early_is_the_one_that_forks(server):
    server.start()
    early = server.pid
    manager, client = start_new_kernel()
    assert int(asked(client, "import os; print(os.getppid())")) == early == server.pid
    manager.shutdown_kernel(now=True)
    client.stop_channels()


def test_kernels_end_with_their_server(server):
    manager, client = start_new_kernel()
    kernel = int(asked(client, "import os; print(os.getpid())"))
    client.stop_channels()
    server.stop()
    assert ended(kernel) and not manager.is_alive()


def test_the_server_is_started_again_should_it_have_died(server):
    manager, client = start_new_kernel()
    client.stop_channels()
    first = server.pid
    os.kill(first, signal.SIGKILL)
    assert ended(manager.provisioner.pid)
    again, client = start_new_kernel()
    assert server.pid != first and again.is_alive()
    again.shutdown_kernel(now=True)
    client.stop_channels()


def test_a_server_that_cannot_start_is_said():
    with started_by(ForkServer("-c", "raise SystemExit(1)")), pytest.raises(RuntimeError, match="starts kernels ended"):
        KernelManager().start_kernel()


def test_a_module_that_cannot_be_imported_is_no_kernel_s_end():
    with started_by(server := ForkServer("-c", "from lib.compute.forked_kernels import serve; serve(['none1'])")):
        server.later = ("none2",)
        for _ in range(2):
            manager, client = start_new_kernel()
            assert asked(client, "print(6 * 7)") == "42\n"
            manager.shutdown_kernel(now=True)
            client.stop_channels()


def test_a_server_that_hangs_is_stopped_at_once():
    server = ForkServer("-c", "import time; time.sleep(1000)")
    waiting = threading.Thread(target=pytest.raises, args=(RuntimeError, server.fork, ["ipykernel_launcher"], "/", {}))
    waiting.start()
    while server.pid is None:
        time.sleep(0.01)
    pid = server.pid
    server.stop()
    waiting.join(30)
    assert not waiting.is_alive() and ended(pid)


def test_a_kernel_is_as_a_new_interpreter_would_be(server, capfd):
    """Its arguments, where it looks for modules, and where its processes print."""
    answers, printed = [], []
    code = "import os, sys, json; os.write(1, b'to the terminal'); print(json.dumps([sys.argv[0].split('/')[-1], sys.path]))"
    for usual in (False, True):
        factory = KernelProvisionerFactory.instance()
        chosen = factory.default_provisioner_name
        factory.default_provisioner_name = "local-provisioner" if usual else chosen
        manager, client = start_new_kernel()
        factory.default_provisioner_name = chosen
        answers.append(json.loads(asked(client, code).removeprefix("to the terminal")))
        manager.shutdown_kernel(now=True)
        client.stop_channels()
        printed.append("to the terminal" in capfd.readouterr().out)
    assert answers[0] == answers[1]
    assert printed == [True, True]


def test_a_signal_reaches_a_kernel_and_its_workers(server):
    manager, client = start_new_kernel()
    code = "import subprocess; worker = subprocess.Popen(['sleep', '1000']); print(worker.pid)"
    worker = int(asked(client, code))
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    assert ended(worker)


def test_what_kernels_have_computed_counts_as_the_caller_s():
    """What a benchmark, or the shell's `time`, says of a run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with started_by(ForkServer(*SERVER)):
        manager, client = start_new_kernel()
        spent = float(asked(client, "import time\nwhile time.process_time() < 4: pass\nprint(time.process_time())"))
        manager.shutdown_kernel(now=True)
        client.stop_channels()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime > 0.9 * spent > 3


def test_a_process_that_has_ended_is_sent_nothing():
    """Its id may be another's by then."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    process = ForkedProcess(child.pid)
    child.wait()
    assert process.wait() == 0 and process.poll() == 0
    process.kill()
    assert ForkedProcess(child.pid).poll() == 0


def test_what_the_caller_had_is_there_again():
    usual = KernelProvisionerFactory.instance().default_provisioner_name
    with pytest.raises(KeyError), started_by(ForkServer(*SERVER)):
        assert KernelProvisionerFactory.instance().default_provisioner_name == forked_kernels.PROVISIONER
        raise KeyError
    assert KernelProvisionerFactory.instance().default_provisioner_name == usual


def test_a_kernel_whose_fork_server_is_gone_ends_at_once():
    code = "import os; from lib.compute.forked_kernels import end_with; end_with(os.getppid() + 1); print('goes on')"
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (1, "")


def test_kernels_of_a_process_that_is_killed_end(tmp_path):
    """Nobody stops the server: its standard input ends."""
    code = f"""
from jupyter_client.manager import start_new_kernel
from lib.compute.forked_kernels import ForkServer, started_by
with started_by(ForkServer(*{SERVER!r})):
    manager, _ = start_new_kernel()
    print(manager.provisioner.pid, manager.provisioner.server.pid, flush=True)
    input()
"""
    caller = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=paths.ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "JUPYTER_RUNTIME_DIR": str(Path(tmp_path))},
    )
    pids = [int(word) for word in caller.stdout.readline().split()]
    caller.kill()
    caller.communicate()
    assert len(pids) == 2 and all(ended(pid) for pid in pids)
