"""Kernels that start in a fraction of a second and share their memory.

A kernel spends a second or two on importing the same modules as every other kernel. Here one process, the *fork server*, imports them once; each
kernel is a fork of it: its own process and its own state, but no imports and no second copy of their memory. `ForkProvisioner` is Jupyter's way to say how a
kernel process is made.

The fork server's standard input is a socket: it reads one JSON line a kernel and answers with one line, the process id. It ends when the other end is
closed, and its kernels end with it, whatever they are doing.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import EntryPoint
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from lib import paths

PROVISIONER = "fork"
# What every kernel imports, some of it only once it starts.
OF_KERNELS = (
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "ipykernel.zmqshell",
    "ipykernel.debugger",
    "IPython.core.completerlib",
    "IPython.extensions.storemagic",
)
SUPPORTED = hasattr(os, "fork") and hasattr(os, "pidfd_open")  # Linux; elsewhere kernels start as usual, slower
_PR_SET_PDEATHSIG = 1  # of linux/prctl.h


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

    Parameters
    ----------
    *command : str
        What follows ``python``; it calls `serve`.

    Attributes
    ----------
    later : tuple of str
        Modules for it to import once the next kernel has started: those of the kernels after that.
    """

    def __init__(self, *command: str) -> None:
        self._command = command
        self.later: tuple[str, ...] = ()
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._turn = threading.Lock()

    @property
    def pid(self) -> int | None:
        """Its process id; None before the first kernel."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Let it begin with its imports, if it has not; otherwise the first `fork` does, and waits for them."""
        with self._turn:
            self._start()

    def _start(self) -> None:
        if self._process is None or self._process.poll() is not None:
            self._line, others_end = socket.socketpair()
            with others_end:
                self._process = subprocess.Popen(
                    [sys.executable, *self._command],
                    cwd=paths.ROOT,
                    stdin=others_end.fileno(),
                    start_new_session=True,  # Ctrl-C is for those who asked for the kernels
                )

    def fork(self, command: list[str], cwd: str, env: dict[str, str]) -> int:
        """Make a kernel process, wait for it, and return its process id; ``command`` is ``python -m ipykernel_launcher -f CONNECTION_FILE``.

        Raises
        ------
        RuntimeError
            There is no memory or no process for another one.
        """
        arguments = command[command.index("ipykernel_launcher") + 1 :]
        request = {"arguments": arguments, "cwd": cwd, "env": env, "later": self.later}
        with self._turn:
            self._start()
            assert self._line is not None
            answer = b""
            with contextlib.suppress(OSError), self._line.makefile("rb") as answers:
                self._line.sendall(json.dumps(request).encode() + b"\n")
                answer = answers.readline()
        if not answer:
            raise RuntimeError("the process that starts kernels ended; its output is above. Try again")
        if int(answer) < 0:
            raise RuntimeError("no room for another kernel: memory, or the number of processes, is at its limit")
        return int(answer)

    def stop(self) -> None:
        """End it and its kernels."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._line is not None:
            self._line.close()


class ForkProvisioner(LocalProvisioner):
    """Jupyter's local provisioner, with the fork server in the place of a new interpreter."""

    server: ForkServer

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Fork a kernel; the same contract as the class above it."""
        self.cwd = str(kwargs.get("cwd") or paths.ROOT)
        self.pid = await asyncio.to_thread(self.server.fork, cmd, self.cwd, kwargs["env"])
        self.pgid = self.pid  # a signal reaches its workers too
        self.process = ForkedProcess(self.pid)  # type: ignore[assignment]
        return self.connection_info

    async def send_signal(self, signum: int) -> None:
        """Send a signal to the kernel and its workers, unless it has ended and its id may be another's."""
        if self.process and self.process.poll() is None:
            await super().send_signal(signum)


@contextlib.contextmanager
def started_by(server: ForkServer) -> Iterator[None]:
    """Start this process's kernels as forks of ``server``, where the system can; at the end it is stopped."""
    factory = KernelProvisionerFactory.instance()
    usual = factory.default_provisioner_name
    if SUPPORTED:
        ForkProvisioner.server = server
        factory.provisioners[PROVISIONER] = EntryPoint(
            PROVISIONER, f"{__name__}:{ForkProvisioner.__name__}", KernelProvisionerFactory.GROUP_NAME
        )
        factory.default_provisioner_name = PROVISIONER
    try:
        yield
    finally:
        factory.default_provisioner_name = usual
        server.stop()


def end_with(fork_server: int) -> None:
    """Let this process end with its parent, the process ``fork_server``, also when its own interpreter is stuck."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != fork_server:  # it ended before the line above
        os._exit(1)


def _become_kernel(request: dict[str, Any], fork_server: int, options: Sequence[str]) -> None:
    """Run a kernel in this process, a fresh fork, and never return."""
    end_with(fork_server)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    # As ipykernel_launcher does; ipykernel puts the working folder behind the standard library.
    del sys.path[0]
    sys.argv = ["ipykernel_launcher.py", *request["arguments"]]
    from ipykernel import kernelapp

    # A kernel ends when its parent does, and its parent is the fork server.
    kernelapp.launch_new_instance([*request["arguments"], f"--IPKernelApp.parent_handle={os.getppid()}", *options])


def _reap(*_: object) -> None:
    # Not left to the system, which would forget how long they have computed.
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def serve(
    modules: Sequence[str] = (),
    options: Sequence[str] = (),
    in_kernel: Callable[[], None] = lambda: None,
) -> None:
    """Be the fork server until standard input ends. A module that cannot be imported is for the kernel that needs it to report.

    Parameters
    ----------
    modules : sequence of str
        What to import before the first kernel.
    options : sequence of str
        Of every kernel, beside those of its command.
    in_kernel : callable, optional
        What a fork does before it becomes a kernel.
    """
    for module in (*OF_KERNELS, *modules):
        _import(module)
    # Freed here and not in each fork: a collector that walks the shared objects would copy them all.
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, _reap)
    fork_server = os.getpid()
    with open(0, "rb", closefd=False) as requests:
        for line in requests:
            request = json.loads(line)
            try:
                pid = os.fork()
            except OSError:  # no memory, or no more processes: this kernel must wait, the others stay
                pid = -1
            if pid == 0:
                in_kernel()
                _become_kernel(request, fork_server, options)
                os._exit(0)
            try:
                os.write(0, b"%d\n" % pid)
            except OSError:  # nobody waits for it any more
                return
            for module in request["later"]:
                _import(module)


def _import(module: str) -> None:
    with contextlib.suppress(Exception):
        importlib.import_module(module)
