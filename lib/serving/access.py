"""Who may use a server: the names it answers to, whose word it takes for an address, and the token with its limit on guesses.

Shared by the endpoint and the dashboard. Nothing here reads or writes but `Access.from_options`, which reads ``SERVE_TOKEN``.
"""

from __future__ import annotations

import argparse
import hmac
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

FREE_GUESSES = 3  # wrong tokens of one address without a wait: a typing error
FIRST_WAIT, LONGEST_WAIT = 1.0, 300.0  # seconds; each further wrong token doubles the wait
MAX_ADDRESSES = 10_000  # addresses whose guesses are remembered; the one that was quiet longest is forgotten
EVERY_ADDRESS = ("0.0.0.0", "::", "")  # what a server binds that listens on all of a machine's addresses


def network_of(address: str) -> str:
    """Who counts as one visitor: an IPv4 address, or the /64 network of an IPv6 address, all of which one host may use.

    Any other text, such as a Unix socket's, stands for itself.

    Examples
    --------
    >>> network_of("192.0.2.7"), network_of("::ffff:192.0.2.7"), network_of("2001:db8:1:2:3::4")
    ('192.0.2.7', '192.0.2.7', '2001:db8:1:2::/64')
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ip_network((parsed, 64), strict=False))


def host_name(header: str) -> str:
    """The name in a ``Host`` header: without its port, in lower case.

    Examples
    --------
    >>> host_name("Localhost:8000"), host_name("[::1]:8000"), host_name("example.org.")
    ('localhost', '::1', 'example.org')
    """
    name = header.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0].rstrip(".")


class Guesses:
    """How long an address that sent wrong tokens has to wait before its next token is looked at.

    Parameters
    ----------
    clock : callable
        Seconds of a clock that never goes back.

    Examples
    --------
    >>> now = 0.0
    >>> guesses = Guesses(lambda: now)
    >>> for _ in range(FREE_GUESSES + 2):
    ...     guesses.add("192.0.2.7")
    >>> guesses.wait("192.0.2.7"), guesses.wait("192.0.2.8")
    (2.0, 0.0)
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # By address: how many wrong tokens, and the time of the last.
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait(self, address: str) -> float:
        """Seconds left for ``address`` to wait; 0 when its next token is looked at."""
        count, last = self._wrong.get(network_of(address), (0, 0.0))
        if count <= FREE_GUESSES:
            return 0.0
        pause = min(FIRST_WAIT * 2.0 ** min(count - FREE_GUESSES - 1, 60), LONGEST_WAIT)
        return max(last + pause - self._clock(), 0.0)

    def add(self, address: str) -> None:
        """Count one wrong token of ``address``. A quiet time of twice the longest wait wipes earlier ones out."""
        key = network_of(address)
        count, last = self._wrong.pop(key, (0, 0.0))
        if self._clock() - last > 2 * LONGEST_WAIT:
            count = 0
        self._wrong[key] = (count + 1, self._clock())
        if len(self._wrong) > MAX_ADDRESSES:
            self._wrong.popitem(last=False)


class Access:
    """Decide whether a request may be answered.

    Parameters
    ----------
    token : str
        The secret that a visitor must show; empty: nothing is asked.
    bound : str
        The address that the server listens on.
    hosts : iterable of str
        Further names that the server may be called by.
    proxies : iterable of str
        Addresses, or networks such as ``172.30.0.0/24``, of proxies: of their requests alone the header
        ``X-Forwarded-For`` is believed.
    clock : callable
        Seconds of a clock that never goes back.

    Examples
    --------
    >>> access = Access("correct horse", hosts=["study.example.org"], proxies=["10.0.0.2"])
    >>> access.is_known_host("study.example.org:8000"), access.is_known_host("attacker.example")
    (True, False)
    >>> access.address("10.0.0.2", "192.0.2.7"), access.address("192.0.2.8", "192.0.2.7")
    ('192.0.2.7', '192.0.2.8')
    >>> access.allows("192.0.2.7", "Bearer correct horse"), access.allows("192.0.2.7", "Bearer wrong")
    (True, False)
    """

    def __init__(
        self,
        token: str = "",
        bound: str = "127.0.0.1",
        hosts: Iterable[str] = (),
        proxies: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.token = token
        self.required = bool(token)
        self.guesses = Guesses(clock)
        self._any_address = bound in EVERY_ADDRESS
        self._hosts = {"localhost", "127.0.0.1", "::1", host_name(bound if bound.count(":") < 2 else f"[{bound}]")}
        self._hosts.update(host_name(host) for host in hosts)
        self._proxies: list[IPv4Network | IPv6Network] = [ip_network(proxy) for proxy in proxies]
        # Addresses that have shown the token: whoever guesses behind the same router cannot lock them out.
        self._proven: OrderedDict[str, None] = OrderedDict()

    @classmethod
    def from_options(cls, options: argparse.Namespace) -> Access:
        """The access that the options of `add_arguments`, ``--host`` and ``SERVE_TOKEN`` ask for."""
        token = os.environ.get("SERVE_TOKEN", "").strip()
        return cls(token, options.host, options.allow_host, options.proxy)

    def is_known_host(self, header: str) -> bool:
        """Whether a ``Host`` header names this server.

        A page of another site can have its own name resolve to this server's address (DNS rebinding) and would then share
        an origin with it; only the header tells. A literal address cannot be rebound, so a server that listens on all of its
        machine's addresses answers to every one. A request without the header comes from no browser.
        """
        if not header.strip():
            return True
        name = host_name(header)
        return name in self._hosts or (self._any_address and _is_address(name))

    def address(self, peer: str, forwarded_for: str = "") -> str:
        """Where a request comes from: the last address that no proxy of ours has, seen from here.

        Parameters
        ----------
        peer : str
            The address at the other end of the connection.
        forwarded_for : str
            The request's ``X-Forwarded-For`` header.
        """
        address = peer
        for sender in reversed([sender.strip() for sender in forwarded_for.split(",")]):
            if not self.is_proxy(address) or not _is_address(sender):
                break
            address = sender
        return address

    def is_proxy(self, address: str) -> bool:
        """Whether ``address`` is one of the proxies whose headers are believed."""
        return any(_is_address(address) and ip_address(address) in network for network in self._proxies)

    def is_token(self, address: str, text: str) -> bool:
        """Whether ``text``, sent from ``address``, is the token; also False while that address has to wait.

        The comparison takes as long for every wrong text. A wrong one is counted.
        """
        key = network_of(address)
        if key not in self._proven and self.guesses.wait(address):
            return False
        # Headers reach Python as Latin-1, whatever their bytes mean; forms as UTF-8.
        if hmac.compare_digest(text.encode("utf-8", "replace"), self.token.encode()) or hmac.compare_digest(
            text.encode("latin-1", "replace"), self.token.encode()
        ):
            self._proven[key] = None
            self._proven.move_to_end(key)
            if len(self._proven) > MAX_ADDRESSES:
                self._proven.popitem(last=False)
            return True
        if not self.guesses.wait(address):
            self.guesses.add(address)
        return False

    def allows(self, address: str, authorization: str) -> bool:
        """Whether a request may be answered, from its `address` and its ``Authorization`` header, ``Bearer TOKEN``. None at all is no guess."""
        if not self.required:
            return True
        kind, _, token = authorization.partition(" ")
        return kind.lower() == "bearer" and self.is_token(address, token.strip())


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def server_parser(module: str, about: str | None, port: int) -> argparse.ArgumentParser:
    """The command line of one server's process, with a default ``port``."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=about)
    parser.add_argument("study", nargs="?", default="sample", help="the study whose model predicts (default: sample)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=port, help="port to listen on (default: %(default)s)")
    add_arguments(parser)
    return parser


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say whose requests a server answers."""
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name that visitors call the server by, beside localhost and the address of --host; may be repeated",
    )
    parser.add_argument(
        "--proxy",
        action="append",
        default=[],
        type=_network,
        metavar="ADDRESS",
        help="address or network of a proxy in front, whose X-Forwarded-For is believed; may be repeated",
    )


def _network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{error}; give an address or a network, such as 10.0.0.2 or 10.0.0.0/24"
        ) from None
