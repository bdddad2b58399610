"""The dashboard's web server: Voilà's application, with what a page that anyone may open needs.

One process for the page and the reports, one kernel process for each visitor. What Voilà leaves open is mended here, each
mend beside its reason.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import json
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import tornado.web
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from jupyter_events import EventLogger
from jupyter_server import CallContext
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.services.kernels.handlers import KernelHandler
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.httputil import HTTPServerRequest
from tornado.ioloop import IOLoop
from traitlets import Any as AnyTrait
from traitlets import Integer, Unicode
from traitlets.config import Config
from voila import __version__ as voila_version
from voila import notebook_renderer
from voila.app import Voila
from voila.exporter import VoilaExporter
from voila.shutdown_kernel_handler import VoilaShutdownKernelHandler
from voila.static_file_handler import AllowListFileHandler, MultiStaticFileHandler, TemplateStaticFileHandler
from voila.tornado.handler import TornadoVoilaHandler
from voila.tornado.kernel_websocket_handler import VoilaKernelWebsocketHandler

from lib import kernels, paths
from lib.access import COOKIE, Access

NOTEBOOK = paths.NOTEBOOKS / "dashboard.ipynb"
TEMPLATE = paths.TEMPLATES / "dashboard"
IDLE_SECONDS = 600  # a session without use ends
OPEN_SECONDS = 60  # a page that takes longer has failed
LEFT_SECONDS = 3  # a session whose page is gone ends, unless the page comes back (a short loss of network)
TIDY_SECONDS = 2  # after a session has ended: for all that end at the same time, once
_M_ARENA_MAX = -8  # of malloc.h
MAX_UPLOAD = 12 * 2**20  # bytes of one websocket message: the 10 MiB that the page allows, and its envelope
# Files of a study that visitors may read.
REPORTS = [r"index\.html", r"reports/[\w-]+\.html", r"notebooks/[\w-]+\.ipynb"]

# The page may talk to this server and to no other, whatever its widgets or reports contain. Voilà's front end needs inline
# scripts and eval (JupyterLab compiles its settings' schemas).
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; connect-src 'self' ws: wss:; frame-ancestors 'self'; base-uri 'self'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


def same_origin(request: HTTPServerRequest) -> bool:
    """Whether a request comes from this server's own pages, from the address bar, or from a program that is no browser.

    Another site's page could otherwise make its visitors' browsers open kernels here, with an ``<img>`` of our address.
    """
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin.lower()).netloc != request.host.lower():
        return False
    foreign = request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site")
    return not foreign or (request.method in ("GET", "HEAD") and request.headers.get("Sec-Fetch-Mode") == "navigate")


def call_later(seconds: float, function: Callable[..., Any], *arguments: Any) -> None:
    """Call a function later, outside the request that asks for it: its context would keep all that the request held until then.

    Parameters
    ----------
    seconds : float
        From now.
    function : callable
        It may be asynchronous.
    *arguments
        Its arguments.
    """
    Context().run(IOLoop.current().call_later, seconds, function, *arguments)


def give_memory_back() -> None:
    """Free what ended sessions have left, and return it to the system: 20 milliseconds.

    A session's objects refer to each other in circles, and Python looks for circles the more rarely the more objects it has. Most of
    those here are modules and live as long as the process: after the first time, at the start, they are not looked at again.
    """
    gc.collect()
    if not gc.get_freeze_count():
        gc.freeze()
    with suppress(AttributeError, OSError):  # of the GNU C library alone
        ctypes.CDLL(None).malloc_trim(0)


class Refused(tornado.web.RequestHandler):
    """Answers what comes from another site's page."""

    def prepare(self) -> None:
        """Refuse."""
        self.set_status(403)
        self.finish("refused: the request comes from another site")


class SignIn(tornado.web.RequestHandler):
    """Asks for the token, and gives the cookie that shows it."""

    def initialize(self, access: Access) -> None:
        """Take the access that this server asks for."""
        self.access = access

    def set_default_headers(self) -> None:
        """Add the security headers."""
        for name, value in SECURITY_HEADERS.items():
            self.set_header(name, value)

    def get(self) -> None:
        """Show the form."""
        self._ask(401, "")

    def _ask(self, status: int, message: str) -> None:
        self.set_status(status)
        self.set_header("Cache-Control", "no-store")
        self.finish((TEMPLATE / "sign_in.html").read_text(encoding="utf-8").replace("<!-- message -->", message))

    def post(self) -> None:
        """Take the form's token."""
        if not self.access.is_token(self.get_body_argument("token", "")):
            self._ask(401, "<p class='error' role='alert'>That is not the token.</p>")
            return
        secure = "; Secure" if self.request.headers.get("X-Forwarded-Proto") == "https" else ""
        self.set_header("Set-Cookie", f"{COOKIE}={self.access.cookie}; Path=/; HttpOnly; SameSite=Lax{secure}")
        # A second slash would make it another server's address.
        self.set_header("Location", "/" + (self.request.uri or "").lstrip("/\\"))
        self.set_status(303)


class GuardedApplication(tornado.web.Application):
    """Tornado's application behind one gate, so that no handler, of Voilà's or ours, can be forgotten.

    Parameters
    ----------
    access : Access
        What a visitor has to show.
    **settings
        Of Tornado's application.
    """

    def __init__(self, access: Access, **settings: Any) -> None:
        super().__init__(**settings)
        self._access = access

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        """Choose the handler: another site gets `Refused`, who has not shown the token `SignIn`.

        Parameters
        ----------
        request : tornado.httputil.HTTPServerRequest
        **kwargs
            As Tornado passes them; handed on.

        Returns
        -------
        tornado.httputil.HTTPMessageDelegate
            What takes the request.
        """
        if not same_origin(request):
            return self.get_handler_delegate(request, Refused)
        headers = request.headers
        if not self._access.allows(headers.get("Authorization", ""), headers.get("Cookie", "")):
            return self.get_handler_delegate(request, SignIn, {"access": self._access})
        return super().find_handler(request, **kwargs)


def _forget_handler() -> None:
    """Take the request's handler out of its context, where every timer that the request starts would keep it."""
    CallContext.set(CallContext.JUPYTER_HANDLER, None)


class Page(TornadoVoilaHandler):
    """The dashboard: a kernel for each visitor."""

    async def prepare(self) -> None:
        """Set the cookie without which the page's good-bye is refused, and its kernel stays for ever."""
        await super().prepare()
        _forget_handler()
        _ = self.xsrf_token
        for name, value in SECURITY_HEADERS.items():
            self.set_header(name, value)

    @tornado.web.authenticated
    async def get(self, path: str | None = None) -> None:
        """Render the page; any other path is no page of ours."""
        if path:
            raise tornado.web.HTTPError(404)
        started = monotonic()
        async for html in self.get_generator():
            self.write(html)
            await self.flush()
            # When rendering fails Voilà goes on sending its heartbeat, for ever.
            if monotonic() - started > OPEN_SECONDS:
                self.write((TEMPLATE / "failed.html").read_text(encoding="utf-8"))
                return

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say what is wrong in a plain page, without a traceback.

        Parameters
        ----------
        status_code : int
            The HTTP status.
        **kwargs
            As Tornado passes them; the exception in them is not shown.
        """
        texts = {404: "There is no such page.", 503: "Too many visitors at once. Try again in a minute."}
        self.set_status(status_code)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        page = (TEMPLATE / "error.html").read_text(encoding="utf-8")
        self.finish(page.replace("<!-- message -->", texts.get(status_code, "Something went wrong on the server.")))


class Channel(VoilaKernelWebsocketHandler):
    """The widgets' line to their kernel."""

    async def prepare(self) -> None:
        """Prepare as Jupyter does, without leaving the handler to the line's timers."""
        await super().prepare()
        _forget_handler()

    async def open(self, kernel_id: str) -> None:
        """Open without Nagle's algorithm, which holds each answer back until the last is acknowledged: 50 ms to 15."""
        self.set_nodelay(True)
        await super().open(kernel_id)

    def on_close(self) -> None:
        """End the session soon after its last page is gone, also when no good-bye came."""
        super().on_close()
        if self.ping_callback is not None:
            self.ping_callback.stop()  # by itself it would stop, and let the session go, at its next turn
        call_later(LEFT_SECONDS, self.kernel_manager.end_if_left, self.kernel_id)


class Connection(ZMQChannelsWebsocketConnection):
    """What a line and its kernel's sockets are joined by."""

    async def prepare(self) -> None:
        """Wait for the kernel's first answer.

        Jupyter's own does so with a timer that it does not stop: for a minute it holds all that the session was made of.
        """
        await self._register_session()
        await asyncio.wrap_future(self.kernel_manager.ready)
        if not await self.kernel_manager.is_alive():
            raise tornado.web.HTTPError(404)
        self.session.key = self.kernel_manager.session.key
        await asyncio.wait_for(asyncio.wrap_future(self.request_kernel_info()), self.kernel_info_timeout)


class EndSession(VoilaShutdownKernelHandler):
    """Takes the page's good-bye."""

    @tornado.web.authenticated
    async def post(self, kernel_id: str) -> None:
        """End the kernel; one that has ended already is no error."""
        if kernel_id in self.kernel_manager:
            await self.kernel_manager.shutdown_kernel(kernel_id, now=True)
        self.set_status(204)


class Session(tornado.web.RequestHandler):
    """Tells a page whether its kernel lives; lighter than Jupyter's own answer, as every open page asks every few seconds."""

    def initialize(self, manager: AsyncMappingKernelManager) -> None:
        """Take the manager that knows the kernels."""
        self.manager = manager

    def get(self, kernel_id: str) -> None:
        """204: it lives; 404: it has ended."""
        self.set_header("Cache-Control", "no-store")
        self.set_status(204 if kernel_id in self.manager else 404)


class Health(tornado.web.RequestHandler):
    """Says that the process answers, and to how many visitors."""

    def initialize(self, manager: AsyncMappingKernelManager) -> None:
        """Take the manager that knows the kernels."""
        self.manager = manager

    def get(self) -> None:
        """Answer."""
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"status": "ok", "visitors": len(self.manager)}))


class Reports(AllowListFileHandler):
    """The study's reports, through Voilà's list of allowed files."""

    def set_extra_headers(self, path: str) -> None:
        """Add the security headers, and let a new run's report replace the old one at once."""
        for name, value in SECURITY_HEADERS.items():
            self.set_header(name, value)
        self.set_header("Cache-Control", "no-cache")
        if path.endswith(".ipynb"):
            self.set_header("Content-Disposition", "attachment")


class FrontEnd(MultiStaticFileHandler):
    """Voilà's scripts, under a path with its version: a browser asks for each of the hundred once, not once a page."""

    def set_extra_headers(self, path: str) -> None:
        """Let browsers keep the file."""
        self.set_header("Cache-Control", "public, max-age=31536000, immutable")


class Kernels(AsyncMappingKernelManager):
    """Jupyter's manager of kernels: no more than there is room for, and none for a page that nobody looks at.

    All of them work in the repository, as the run's kernels do.
    """

    max_visitors = Integer(64, config=True, help="Kernels at once.")
    _starting = 0
    _is_tidying = False

    async def start_kernel(self, **kwargs: Any) -> str:  # type: ignore[override]  # as the asynchronous class above it
        """Start a visitor's kernel.

        Parameters
        ----------
        **kwargs
            As Jupyter passes them; handed on.

        Returns
        -------
        str
            Its id.

        Raises
        ------
        tornado.web.HTTPError
            There are as many visitors as there may be.
        """
        # Those that are about to be counted count too, or a crowd that comes at once would pass.
        if len(self) + self._starting >= self.max_visitors:
            raise tornado.web.HTTPError(503)
        self._starting += 1
        try:
            kernel_id: str = await super().start_kernel(**kwargs)
        finally:
            self._starting -= 1
        # A program that only fetched the page, or a tab that was closed while it opened, never connects.
        call_later(OPEN_SECONDS, self.end_if_left, kernel_id)
        return kernel_id

    async def shutdown_kernel(self, kernel_id: str, now: bool = False, restart: bool = False) -> None:  # type: ignore[override]
        """End a kernel, and soon after give back the memory that its session had here.

        Parameters
        ----------
        kernel_id : str
        now, restart : bool
            As Jupyter passes them; handed on.
        """
        await super().shutdown_kernel(kernel_id, now=now, restart=restart)
        if not self._is_tidying:
            self._is_tidying = True
            call_later(TIDY_SECONDS, self._tidy)

    def _tidy(self) -> None:
        self._is_tidying = False
        give_memory_back()

    async def end_if_left(self, kernel_id: str) -> None:
        """End a kernel to which no page is connected.

        Parameters
        ----------
        kernel_id : str
            It may have ended already.
        """
        if kernel_id in self and not self._kernel_connections.get(kernel_id):
            await self.shutdown_kernel(kernel_id, now=True)

    def cwd_for_path(self, path: str, **kwargs: Any) -> str:
        """The working folder of every kernel.

        Parameters
        ----------
        path : str
            Of the notebook; it makes no difference.
        **kwargs
            As Jupyter passes them; not used.

        Returns
        -------
        str
            The repository's folder.
        """
        return str(paths.ROOT)


class _CompiledTemplates(BytecodeCache):
    """Compiled templates, kept in memory: Voilà makes its Jinja environment anew for each page and compiles thirteen."""

    def __init__(self) -> None:
        self._code: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._code:
            bucket.bytecode_from_string(self._code[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.key] = bucket.bytecode_to_string()


class Exporter(VoilaExporter):
    """Voilà's exporter, compiling each template once a process and not once a page."""

    _compiled = _CompiledTemplates()

    def _create_environment(self) -> Any:
        environment = super()._create_environment()
        environment.bytecode_cache = self._compiled
        return environment


class DashboardServer(Voila):
    """Voilà's application for one notebook and one study's reports."""

    name = "voila"
    study = Unicode("sample", help="The study whose model predicts.")
    access = AnyTrait(help="Who may use it.")
    event_logger = AnyTrait(help="One for all kernels: each would make its own, and Python keeps loggers for ever.")

    def setup_template_dirs(self) -> None:
        """Put our template before Voilà's `lab`, which it extends."""
        super().setup_template_dirs()
        self.template_paths.insert(0, str(TEMPLATE))

    def init_handlers(self) -> list:
        """Keep of Voilà's handlers what the page needs, with ours in the place of some; and add the reports."""
        kept = {
            TornadoVoilaHandler: Page,
            VoilaKernelWebsocketHandler: Channel,
            VoilaShutdownKernelHandler: EndSession,
            KernelHandler: KernelHandler,
            MultiStaticFileHandler: MultiStaticFileHandler,
        }
        mended = []
        for pattern, handler, *rest in super().init_handlers():
            if handler in kept:
                mended.append((pattern, kept[handler], *rest))
            elif "/voila/api/themes/" in pattern:
                mended.append((pattern, handler, *rest))
            elif "/voila/labextensions/" in pattern:
                # Their names and queries hold their digests: browsers may keep them.
                mended.append((pattern, handler, {**rest[0], "no_cache_paths": []}))
        allowed = {
            "allowlist": self.voila_configuration.file_allowlist,
            "denylist": self.voila_configuration.file_denylist,
        }
        folder = {"path": str(paths.StudyPaths(self.study).folder)}
        manager = {"manager": self.kernel_manager}
        # Voilà's own pattern takes any path, and some of them end in a 500.
        style = (r"/voila/templates/(lab/static/[\w-]+\.\w+)", TemplateStaticFileHandler)
        return [
            (r"/reports", tornado.web.RedirectHandler, {"url": "/reports/index.html"}),
            (r"/reports/", tornado.web.RedirectHandler, {"url": "/reports/index.html"}),
            (r"/reports/(.*)", Reports, {**allowed, **folder}),
            (r"/static/([\w.-]+)", tornado.web.StaticFileHandler, {"path": str(TEMPLATE / "static")}),
            (rf"/voila/static/{voila_version}/(.*)", FrontEnd, {"paths": self.static_paths}),
            (r"/session/([\w-]+)", Session, manager),
            (r"/health", Health, manager),
            style,
            *mended,
        ]

    def start(self) -> None:
        """Serve until told to stop. As Voilà's own, with the gate."""
        self.connection_dir = tempfile.mkdtemp(prefix="dashboard_", dir=self.connection_dir_root)
        kernels.use_forked_kernels(self.connection_dir)
        settings = self.init_settings()
        settings["websocket_max_message_size"] = MAX_UPLOAD
        # Milliseconds. A page that computes for half a minute, or is looked at by a screen reader's checks, answers late and is
        # still there; Tornado wants a timeout no longer than the interval.
        settings["ws_ping_interval"] = settings["ws_ping_timeout"] = 60_000
        self.app = GuardedApplication(self.access, **settings)
        self.app.add_handlers(".*$", self.init_handlers())
        give_memory_back()
        self.listen()


def _page_config(page_config: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Send pages to `FrontEnd` for their scripts, and name the study to the template."""
    versioned = f"{page_config['fullStaticUrl']}/{voila_version}"
    return {**page_config, "fullStaticUrl": versioned, "study": os.environ["STUDY"]}


def configuration(host: str, port: int, max_visitors: int) -> Config:
    """The settings of Voilà and of what it stands on.

    Parameters
    ----------
    host : str
        The address to listen on.
    port : int
        The port to listen on; no other is tried.
    max_visitors : int
        Kernels at once; further visitors are asked to wait.

    Returns
    -------
    traitlets.config.Config
    """
    config = Config()
    config.Voila.ip = host
    config.Voila.port = port
    config.Voila.port_retries = 0
    config.Voila.open_browser = False
    config.Voila.root_dir = str(paths.NOTEBOOKS)
    config.Voila.log_level = "ERROR"
    config.Voila.kernel_websocket_connection_class = Connection
    config.Voila.config_file_paths = []  # nobody's own settings of Voilà change this server
    page = config.VoilaConfiguration
    page.template = "lab"
    page.allow_template_override = "NO"
    page.allow_theme_override = "NO"
    page.show_tracebacks = False
    page.file_allowlist = REPORTS
    page.file_denylist = []  # of the study's folder the list above allows executed notebooks, which are reports too
    page.page_config_hook = _page_config
    page.extension_allowlist = ["@voila-dashboards/widgets-manager8", "@jupyter-widgets/jupyterlab-manager"]
    page.multi_kernel_manager_class = Kernels
    config.VoilaExporter.exclude_markdown = True  # the notebook's prose is for its readers, the page is the widgets
    config.TagRemovePreprocessor.enabled = True
    config.TagRemovePreprocessor.remove_cell_tags = ["notebook-only"]
    config.Kernels.max_visitors = max_visitors
    config.MappingKernelManager.cull_idle_timeout = IDLE_SECONDS
    config.MappingKernelManager.cull_interval = 60
    config.MappingKernelManager.cull_connected = True
    config.MappingKernelManager.allow_tracebacks = False
    config.MappingKernelManager.buffer_offline_messages = False
    # Files in a folder of ours and not ports that any process of this machine may try.
    config.KernelManager.transport = "ipc"
    config.Voila.connection_dir_root = str(paths.sockets())
    # A kernel that died is not started again: its page's widgets would talk to a stranger. The page is told instead.
    config.KernelRestarter.restart_limit = 0
    config.KernelRestarter.time_to_dead = 1.0
    return config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the dashboard's options to ``parser``."""
    parser.add_argument("study", nargs="?", default="sample", help="the study whose model predicts (default: sample)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8866, help="port to listen on (default: %(default)s)")
    parser.add_argument("--max-visitors", type=int, default=64, help="sessions at once (default: %(default)s)")


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop: ``python -m lib.dashboard_server [STUDY] [--host HOST] [--port PORT]``."""
    parser = argparse.ArgumentParser(prog="python -m lib.dashboard_server", description=(__doc__ or "").splitlines()[0])
    add_arguments(parser)
    options = parser.parse_args(arguments)
    with suppress(AttributeError, OSError):  # of the GNU C library alone
        # One heap for all threads: what a session leaves in one thread's heap no other thread uses again.
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    access = Access.from_environment()
    # The kernels inherit this process's environment, less the token and plus what the notebook reads.
    os.environ.pop("SERVE_TOKEN", None)
    os.environ.update(
        STUDY=options.study,
        SERVE_ASKS_TOKEN="1" if access.required else "",
        PYTHONPATH=str(paths.ROOT),
        JUPYTER_WIDGETS_ECHO="0",  # half the messages of an edit
        OPENBLAS_NUM_THREADS="1",  # a lookup needs no threads, and each costs memory
    )
    notebook_renderer.VoilaExporter = Exporter  # Voilà has no setting for it
    server = DashboardServer(
        study=options.study,
        access=access,
        event_logger=EventLogger(),
        notebook_path=str(NOTEBOOK),
        config=configuration(options.host, options.port, options.max_visitors),
    )
    server.initialize([])
    server.start()
    return 0


if __name__ == "__main__":
    sys.exit(main())
