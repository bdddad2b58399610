"""The dashboard's web server: Voilà's application, with what a page that anyone may open needs.

One process for the page and the reports, one kernel process for each visitor. What Voilà, Jupyter and Tornado leave open is
patched in `lib.serving.dashboard.voila_patches`.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import sys
import tempfile
from collections import Counter, OrderedDict
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

import tornado.web
import zmq
from jupyter_events import EventLogger
from jupyter_server.base.handlers import APIHandler, JupyterHandler
from jupyter_server.services.kernels.handlers import KernelHandler
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.iostream import IOStream, StreamClosedError
from tornado.log import app_log, gen_log
from traitlets import Any as AnyTrait
from traitlets import Integer, Unicode
from traitlets.config import Config
from voila import __version__ as voila_version
from voila import notebook_renderer
from voila.app import Voila
from voila.shutdown_kernel_handler import VoilaShutdownKernelHandler
from voila.static_file_handler import MultiStaticFileHandler, TemplateStaticFileHandler
from voila.tornado.handler import TornadoVoilaHandler
from voila.tornado.kernel_websocket_handler import VoilaKernelWebsocketHandler
from voila.voila_identity_provider import VoilaLoginHandler

from lib import paths
from lib.compute.forked_kernels import ForkServer, started_by
from lib.serving import access, server_process
from lib.serving.access import Access, network_of
from lib.serving.dashboard import forkserver
from lib.serving.dashboard.kernel_messages import MAX_MESSAGE
from lib.serving.dashboard.voila_patches import (
    OPEN_SECONDS,
    PINGS,
    TEMPLATE,
    Channel,
    Connection,
    EndSession,
    Exporter,
    FrontEnd,
    Identity,
    Page,
    Reports,
    call_later,
    cookie_secret,
)

NOTEBOOK = paths.NOTEBOOKS / "dashboard.ipynb"
IDLE_SECONDS = 600  # a session without use ends
MAX_CONNECTIONS = 2_000  # of all visitors, where the system allows as many descriptors
MAX_CONNECTIONS_OF_ONE = 256  # of one address: thirty pages, each with a browser's six
MAX_QUEUED = 2  # messages of one kernel that this process has received and not looked at
KERNEL_DESCRIPTORS = 24  # what a session takes of them, at most
HEADER_SECONDS = 20  # for a request's head, and for a connection without a request
BODY_SECONDS = 10
UNREAD_SECONDS = 30  # a connection whose other end takes nothing for so long is closed
MAX_HEADER, MAX_BODY = 16 * 2**10, 64 * 2**10  # bytes; the only body of size is the sign-in form's
# Files of a study that visitors may read.
REPORTS = [r"index\.html", r"forecasts\.csv", r"reports/[\w-]+\.html", r"notebooks/[\w-]+\.ipynb"]
# What needs no token: the scripts and styles of public packages, and ours.
PUBLIC = (
    tornado.web.RedirectHandler,
    tornado.web.StaticFileHandler,
    FrontEnd,
    MultiStaticFileHandler,
    TemplateStaticFileHandler,
)

ENDED = "It ends after ten minutes without use. Your inputs are kept."
DIED = (
    f"Its process exited unexpectedly, as it does when it needs more than {forkserver.MAX_MEMORY >> 20} MB of memory. "
    "Reload the page to continue; try a smaller file."
)


def same_origin(request: HTTPServerRequest) -> bool:
    """Whether a request comes from this server's own pages, from the address bar, or from a program that is no browser.

    Another site's page could otherwise make its visitors' browsers open kernels here, with an ``<img>`` of our address.
    """
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin.lower()).netloc != request.host.lower():
        return False
    foreign = request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site")
    return not foreign or (request.method in ("GET", "HEAD") and request.headers.get("Sec-Fetch-Mode") == "navigate")


class Refused(tornado.web.RequestHandler):
    """Answers what comes from another site's page, or by a name that is not this server's."""

    def initialize(self, status: int, message: str) -> None:
        """Take what to say."""
        self.status, self.message = status, message

    def prepare(self) -> None:
        """Refuse."""
        self.set_status(self.status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(self.message)


def is_news(record: logging.LogRecord) -> bool:
    """Whether a record of Tornado's logs says anything: not so what pyzmq and Tornado say of each visitor who leaves.

    pyzmq 27.3.0 warns of events that are still queued for a stream when Jupyter closes it, and then drops them, as it should
    (``ZMQStream._handle_events``). Test: ``test_a_visitor_who_leaves_is_no_line_in_the_log``.
    """
    # Behind an exception, which has a record of its own.
    follows = ("Got events for closed stream", "Cannot send error response after headers written")
    return not (
        str(record.msg).startswith(follows) or (record.exc_info and isinstance(record.exc_info[1], StreamClosedError))
    )


class LimitedServer(HTTPServer):
    """Tornado's HTTP server with limits on connections: in all, of one address, and on those whose other end does nothing."""

    max_connections = MAX_CONNECTIONS
    access: Access

    def handle_stream(self, stream: IOStream, address: tuple) -> None:
        """Take a connection, or close it when there are too many."""
        self._open: list[tuple[str, IOStream]]
        peer = str(address[0]) if address else ""
        self._open = [one for one in getattr(self, "_open", []) if not one[1].closed()]
        most = self.max_connections if self.access.is_proxy(peer) else MAX_CONNECTIONS_OF_ONE
        key = network_of(peer)
        if len(self._open) >= self.max_connections or sum(other == key for other, _ in self._open) >= most:
            stream.close()
            return
        self._open.append((key, stream))
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            stream.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)
        super().handle_stream(stream, address)


class GuardedApplication(tornado.web.Application):
    """Tornado's application behind one gate, so that no handler, of Voilà's or ours, can be forgotten."""

    def __init__(self, access: Access, max_connections: int, **settings: Any) -> None:
        super().__init__(**settings)
        self._access = access
        self._max_connections = max_connections

    def listen(self, port: int, address: str | None = None, **kwargs: Any) -> HTTPServer:
        """Listen with a `LimitedServer`."""
        server = LimitedServer(
            self,
            max_header_size=MAX_HEADER,
            max_body_size=MAX_BODY,
            max_buffer_size=MAX_MESSAGE + 2**20,
            idle_connection_timeout=HEADER_SECONDS,
            body_timeout=BODY_SECONDS,
        )
        server.access, server.max_connections = self._access, self._max_connections
        server.listen(port, address)
        return server

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        """Choose the handler: another site and another name get `Refused`.

        The request learns the visitor's address, and whether the visitor speaks HTTPS, from a proxy that is believed.
        """
        peer, headers = str(request.remote_ip), request.headers
        request.remote_ip = self._access.address(peer, headers.get("X-Forwarded-For", ""))
        if self._access.is_proxy(peer) and headers.get("X-Forwarded-Proto") == "https":
            request.protocol = "https"
        if not self._access.is_known_host(request.host):
            message = f"refused: this server is not called {request.host[:100]!r}; --allow-host adds a name"
            return self.get_handler_delegate(request, Refused, {"status": 421, "message": message})
        if not same_origin(request):
            message = "refused: the request comes from another site"
            return self.get_handler_delegate(request, Refused, {"status": 403, "message": message})
        return super().find_handler(request, **kwargs)


class Session(APIHandler):
    """Tells a page whether its kernel lives; lighter than Jupyter's own answer, as every open page asks every few seconds."""

    def get(self, kernel_id: str) -> None:
        """204: it lives; 404: it has ended, and why."""
        self.set_header("Cache-Control", "no-store")
        lives = kernel_id in self.kernel_manager
        self.set_status(204 if lives else 404)
        if not lives:
            manager: Any = self.kernel_manager
            self.finish(manager.reason(kernel_id), set_content_type="text/plain; charset=utf-8")


class Health(APIHandler):
    """Says that the process answers, and to how many visitors."""

    def get(self) -> None:
        """Answer."""
        self.finish(json.dumps({"status": "ok", "visitors": len(self.kernel_manager)}))


class Kernels(AsyncMappingKernelManager):
    """Jupyter's manager of kernels: no more than there is room for, and none for a page that nobody looks at.

    All of them work in the repository, as the run's kernels do.
    """

    max_visitors = Integer(64, config=True, help="Kernels at once.")
    max_per_address = Integer(32, config=True, help="Kernels of one address at once.")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # What a kernel says waits in its own process, which has a limit. libzmq takes 1,000 messages in:
        # http://api.zeromq.org/4-3:zmq-setsockopt#toc38. Test: `test_a_page_is_told_that_its_kernel_needed_too_much_memory`.
        self.context.setsockopt(zmq.RCVHWM, MAX_QUEUED)
        self._asker: ContextVar[str] = ContextVar("asker", default="")
        self._starting: Counter[str] = Counter()  # kernels that are about to be counted, by address
        self._addresses: dict[str, str] = {}  # of each kernel's visitor
        self._ending: set[str] = set()
        self._died: OrderedDict[str, None] = OrderedDict()  # kernels that ended by themselves; the latest of them

    def asked_by(self, address: str) -> None:
        """Count the kernels that this request starts as those of ``address``; Tornado gives each request a context of its own."""
        self._asker.set(network_of(address))

    def reason(self, kernel_id: str) -> str:
        """Why a kernel has ended, for its page."""
        return DIED if kernel_id in self._died else ENDED

    async def start_kernel(self, **kwargs: Any) -> str:  # type: ignore[override]  # as the asynchronous class above it
        """Start a visitor's kernel; returns its id.

        Raises
        ------
        tornado.web.HTTPError
            503: there are as many visitors as there may be; 429: as many of one address.
        """
        # Those that are about to be counted count too, or a crowd that comes at once would pass.
        asker = self._asker.get()
        if len(self) + self._starting.total() >= self.max_visitors:
            raise tornado.web.HTTPError(503)
        if asker and list(self._addresses.values()).count(asker) + self._starting[asker] >= self.max_per_address:
            raise tornado.web.HTTPError(429)
        self._starting[asker] += 1
        try:
            kernel_id: str = await super().start_kernel(**kwargs)
            self._addresses[kernel_id] = asker
        finally:
            self._starting[asker] -= 1
            self._starting += Counter()  # without those that are at zero
        # A program that only fetched the page, or a tab that was closed while it opened, never connects.
        call_later(OPEN_SECONDS, self.end_if_left, kernel_id)
        return kernel_id

    async def shutdown_kernel(self, kernel_id: str, now: bool = False, restart: bool = False) -> None:  # type: ignore[override]
        """End a kernel."""
        self._ending.add(kernel_id)
        try:
            await super().shutdown_kernel(kernel_id, now=now, restart=restart)
        finally:
            self._ending.discard(kernel_id)

    def remove_kernel(self, kernel_id: str) -> Any:
        """Forget a kernel, note whether it exited unexpectedly, and close its lines: its page then asks why."""
        for channel in list(Channel.open_channels):
            if channel.kernel_id == kernel_id:
                call_later(0, channel.close)
        self._addresses.pop(kernel_id, None)
        if kernel_id not in self._ending:
            self._died[kernel_id] = None
            if len(self._died) > 1000:
                self._died.popitem(last=False)
        return super().remove_kernel(kernel_id)

    async def end_if_left(self, kernel_id: str) -> None:
        """End a kernel to which no page is connected, unless it has ended already."""
        # Jupyter's own count is one too low after each line that was refused.
        connected = any(channel.kernel_id == kernel_id for channel in Channel.open_channels)
        if kernel_id in self and not connected:
            await self.shutdown_kernel(kernel_id, now=True)

    def cwd_for_path(self, path: str, **kwargs: Any) -> str:
        """The working folder of every kernel: the repository's folder, wherever the notebook is."""
        return str(paths.ROOT)


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
            VoilaLoginHandler: VoilaLoginHandler,
        }
        of_voila = []
        for pattern, handler, *rest in super().init_handlers():
            if handler in kept:
                of_voila.append((pattern, kept[handler], *rest))
            elif "/voila/api/themes/" in pattern:
                of_voila.append((pattern, handler, *rest))
            elif "/voila/labextensions/" in pattern:
                # Their names and queries hold their digests: browsers may keep them.
                of_voila.append((pattern, handler, {**rest[0], "no_cache_paths": []}))
        allowed = {
            "allowlist": self.voila_configuration.file_allowlist,
            "denylist": self.voila_configuration.file_denylist,
        }
        folder = {"path": str(paths.StudyPaths(self.study).folder)}
        # Voilà's own pattern takes any path, and some of them end in a 500.
        style = (r"/voila/templates/(lab/static/[\w-]+\.\w+)", TemplateStaticFileHandler)
        handlers = [
            (r"/reports", tornado.web.RedirectHandler, {"url": "/reports/index.html"}),
            (r"/reports/", tornado.web.RedirectHandler, {"url": "/reports/index.html"}),
            (r"/reports/(.*)", Reports, {**allowed, **folder}),
            (r"/static/([\w.-]+)", tornado.web.StaticFileHandler, {"path": str(TEMPLATE / "static")}),
            (rf"/voila/static/{voila_version}/(.*)", FrontEnd, {"paths": self.static_paths}),
            (r"/session/([\w-]+)", Session),
            (r"/health", Health),
            style,
            *of_voila,
        ]
        # Jupyter's handlers ask for the token by themselves.
        assert all(issubclass(handler, (JupyterHandler, *PUBLIC)) for _, handler, *_ in handlers)
        return handlers

    def start(self) -> None:
        """Serve until stopped. As Voilà's own, with the gate and the limits."""
        self.connection_dir = tempfile.mkdtemp(prefix="dashboard_", dir=self.connection_dir_root)
        settings = self.init_settings()
        self.identity_provider.access = self.access
        settings["jinja2_env"].loader.searchpath.insert(0, str(TEMPLATE))  # our sign-in page, on Jupyter's
        settings["websocket_max_message_size"] = MAX_MESSAGE
        settings.update(PINGS)
        settings["log_function"] = lambda handler: None  # no line for each request; exceptions have their own
        free = server_process.raise_descriptor_limit() - KERNEL_DESCRIPTORS * self.kernel_manager.max_visitors
        self.app = GuardedApplication(self.access, max(min(MAX_CONNECTIONS, free - 64), 64), **settings)
        self.app.add_handlers(".*$", self.init_handlers())
        server_process.limit_logs()
        for log in (gen_log, app_log):
            log.addFilter(is_news)
        server_process.return_memory()
        try:
            with started_by(ForkServer("-m", forkserver.__name__, self.connection_dir)):
                self.listen()
        finally:
            shutil.rmtree(self.connection_dir, ignore_errors=True)


def _page_config(page_config: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Send pages to `FrontEnd` for their scripts, and name the study to the template."""
    versioned = f"{page_config['fullStaticUrl']}/{voila_version}"
    return {**page_config, "fullStaticUrl": versioned, "study": os.environ["STUDY"]}


def configuration(host: str, port: int, token: str, max_visitors: int, max_per_address: int) -> Config:
    """The settings of Voilà and of what it stands on; no other port is tried.

    Parameters
    ----------
    token : str
        What visitors have to show; empty: nothing.
    max_visitors, max_per_address : int
        Kernels at once, of all visitors and of one address; further visitors are asked to wait.
    """
    config = Config()
    config.Voila.ip = host
    config.Voila.port = port
    config.Voila.port_retries = 0
    config.Voila.open_browser = False
    config.Voila.root_dir = str(paths.NOTEBOOKS)
    config.Voila.log_level = "ERROR"
    config.Voila.kernel_websocket_connection_class = Connection
    config.Voila.token = token
    config.Voila.identity_provider_class = Identity
    if token:
        config.Voila.cookie_secret = cookie_secret(token)
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
    config.Kernels.max_per_address = max_per_address
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


def main(arguments: list[str] | None = None) -> int:
    """Serve until stopped: ``python -m lib.serving.dashboard.server [STUDY] [--host HOST] [--port PORT]``."""
    parser = access.server_parser("lib.serving.dashboard.server", (__doc__ or "").splitlines()[0], 8866)
    parser.add_argument("--max-visitors", type=int, default=64, help="sessions at once (default: %(default)s)")
    parser.add_argument("--max-per-address", type=int, help="sessions of one address at once (default: half of them)")
    options = parser.parse_args(arguments)
    asked = Access.from_options(options)
    # The kernels inherit this process's environment, less the token and plus what the notebook reads.
    os.environ.pop("SERVE_TOKEN", None)
    os.environ.update(
        STUDY=options.study,
        SERVE_ASKS_TOKEN="1" if asked.required else "",
        PYTHONPATH=str(paths.ROOT),
        JUPYTER_WIDGETS_ECHO="0",  # half the messages of an edit
        OPENBLAS_NUM_THREADS="1",  # a lookup needs no threads, and each costs memory
    )
    notebook_renderer.VoilaExporter = Exporter  # Voilà has no setting for it
    most = options.max_per_address or (options.max_visitors + 1) // 2
    server = DashboardServer(
        study=options.study,
        access=asked,
        event_logger=EventLogger(),
        notebook_path=str(NOTEBOOK),
        config=configuration(options.host, options.port, asked.token, options.max_visitors, most),
    )
    server.initialize([])
    server.start()
    return 0


if __name__ == "__main__":
    sys.exit(main())
