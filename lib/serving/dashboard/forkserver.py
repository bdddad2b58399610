"""Dashboard kernels that open in a fraction of a second and share their memory.

A kernel spends most of a second importing the same modules as every other kernel. Here one process, the *fork server*,
imports them once; each visitor's kernel is a fork of it: its own process and its own state, but no imports and no second
copy of their memory. `ForkProvisioner` is Jupyter's way to say how a kernel process is made.

The fork server reads one JSON line a kernel on its standard input and answers with one line, the process id. It ends when its
standard input does, and its kernels end with it, whatever they are doing. Then it also sweeps the folder of their connection files, which a killed
server cannot.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import importlib
import json
import logging
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
from importlib.metadata import EntryPoint
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from lib import paths

PROVISIONER = "fork"
# What every kernel imports; ipykernel first, as it decides how ipywidgets talks.
PRELOADED = ("ipykernel.kernelapp", "ipykernel.ipkernel", "ipykernel.zmqshell", "lib.serving.dashboard.page")
SUPPORTED = hasattr(os, "fork") and hasattr(os, "pidfd_open")  # Linux; elsewhere kernels start as usual, slower
# Bytes that a kernel may take beyond what it shares when it starts. An open page takes 35 MB of it.
MAX_MEMORY = 256 * 2**20
STACKS = 128 * 2**20  # address space, most of it never used, of a kernel's fifteen threads
NICENESS = 5  # a kernel that computes lets the endpoint, which answers in microseconds, go first
_PR_SET_PDEATHSIG = 1  # of linux/prctl.h
# No file of inputs, as a page has none, and no lines about how to connect to it.
LEAN = ("--HistoryManager.enabled=False", "--log-level=40")


class ForkedProcess:
    """A kernel process that is not our child, with the part of `subprocess.Popen` that Jupyter uses.

    Parameters
    ----------
    pid : int
        The process, a child of the fork server. The handle names this process even when its id is used again.
    """

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        try:
            self._handle = os.pidfd_open(pid)
        except ProcessLookupError:
            self._handle, self.returncode = -1, 0

    def poll(self) -> int | None:
        """None while the process lives; its exit code is the fork server's to know, so 0 afterwards."""
        if self.returncode is None and select.select([self._handle], [], [], 0)[0]:
            os.close(self._handle)
            self.returncode = 0
        return self.returncode

    def wait(self) -> int:
        """Wait for the end of the process."""
        if self.returncode is None:
            select.select([self._handle], [], [])
        return self.poll() or 0

    def send_signal(self, signum: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._handle, signum)

    def terminate(self) -> None:
        """Ask the process to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process."""
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """The process whose forks are kernels; started with the first kernel, and again should it have died.

    Attributes
    ----------
    connections : str
        The folder of the kernels' connection files, which is swept at the end; of this server alone.
    """

    connections: str

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def fork(self, command: list[str], cwd: str, env: dict[str, str]) -> int:
        """Make a kernel process.

        Parameters
        ----------
        command : list of str
            What would be run: ``python -m ipykernel_launcher -f CONNECTION_FILE``.
        cwd : str
            The kernel's working folder.
        env : dict
            The kernel's environment.

        Returns
        -------
        int
            The process id.
        """
        async with self._turn:
            if self._process is None or self._process.returncode is not None:
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "lib.serving.dashboard.forkserver", self.connections),
                    cwd=paths.ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            assert self._process.stdin is not None and self._process.stdout is not None
            request = {"arguments": command[command.index("ipykernel_launcher") + 1 :], "cwd": cwd, "env": env}
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            await self._process.stdin.drain()
            answer = await self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the kernels' fork server ended; the next page starts another")
        if int(answer) < 0:
            raise RuntimeError("no room for another kernel: memory, or the number of processes, is at its limit")
        return int(answer)


_server = ForkServer()


class ForkProvisioner(LocalProvisioner):
    """Jupyter's local provisioner, with the fork server in the place of a new interpreter."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Fork a kernel; the same contract as the class above it.

        Parameters
        ----------
        cmd : list of str
            The command that would start the kernel in a new interpreter.
        **kwargs
            As Jupyter passes them: ``env``, the kernel's environment, and perhaps ``cwd``, its working folder.

        Returns
        -------
        dict
            How to connect to the kernel.
        """
        self.cwd = str(kwargs.get("cwd") or paths.ROOT)
        self.pid = await _server.fork(cmd, self.cwd, kwargs["env"])
        self.pgid = None
        self.process = ForkedProcess(self.pid)  # type: ignore[assignment]
        return self.connection_info


def use_forked_kernels(connections: str) -> None:
    """Make `ForkProvisioner` the way kernels start in this process, where the system can.

    Parameters
    ----------
    connections : str
        The folder of their connection files, which this process has made for them; it does not outlive this process.
    """
    if not SUPPORTED:
        return
    _server.connections = connections
    factory = KernelProvisionerFactory.instance()
    factory.provisioners[PROVISIONER] = EntryPoint(
        PROVISIONER, f"{__name__}:{ForkProvisioner.__name__}", KernelProvisionerFactory.GROUP_NAME
    )
    factory.default_provisioner_name = PROVISIONER


def _limit(fork_server: int) -> None:
    """Let this kernel end with its fork server, also when its own interpreter is stuck, and bound what it takes."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != fork_server:  # it ended before the line above
        os._exit(1)
    with open("/proc/self/statm", encoding="ascii") as file:
        shared = (
            int(file.read().split()[5]) * resource.getpagesize()
        )  # private writable memory: what RLIMIT_DATA counts
    most = shared + STACKS + MAX_MEMORY
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    os.nice(NICENESS)


def _end_without_memory() -> None:
    """End this kernel when something in it that logs its errors found no memory: it would go on, with whatever is half done."""
    make = logging.getLogRecordFactory()

    def check(*arguments: Any, **keywords: Any) -> logging.LogRecord:
        record = make(*arguments, **keywords)
        if record.exc_info and isinstance(record.exc_info[1], MemoryError):
            os._exit(1)
        return record

    logging.setLogRecordFactory(check)


def _become_kernel(request: dict[str, Any], fork_server: int) -> None:
    """Run a kernel in this process, a fresh fork, and never return."""
    _limit(fork_server)
    _end_without_memory()
    null = os.open(os.devnull, os.O_RDWR)
    # The pipes of the fork server must not live on in its kernels: their end is what ends the fork server.
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.path[0] = ""
    from ipykernel import kernelapp

    # A kernel ends when its parent does, and its parent is the fork server.
    kernelapp.launch_new_instance([*request["arguments"], f"--IPKernelApp.parent_handle={os.getppid()}", *LEAN])


def main(connections: str) -> int:
    """Be the fork server until standard input ends; then remove the folder ``connections``."""
    for module in PRELOADED:
        importlib.import_module(module)
    # ipywidgets does so when it is imported inside a kernel, and this is not one yet: without it the page's question for the
    # widgets' states finds nobody, and it asks for each widget by itself, after a wait.
    importlib.import_module("ipywidgets").register_comm_target()
    # Freed here and not in each fork: a collector that walks the shared objects would copy them all.
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps ended kernels
    fork_server = os.getpid()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            pid = os.fork()
        except OSError:  # no memory, or no more processes: this visitor must wait, the others stay
            pid = -1
        if pid == 0:
            _become_kernel(request, fork_server)
            os._exit(0)
        print(pid, flush=True)
    shutil.rmtree(connections, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
