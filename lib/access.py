"""Who may use the server: everyone, or only who has the token in ``SERVE_TOKEN``.

The endpoint and the dashboard ask the same object, so that a visitor who signed in at the dashboard may call the endpoint
from the same browser. The cookie holds a keyed digest of the token, not the token: every process that was given the same
token accepts it, without a shared store.
"""

from __future__ import annotations

import hashlib
import hmac
import os

COOKIE = "market-study-access"


class Access:
    """Decide whether a request may be answered.

    Parameters
    ----------
    token : str
        The secret that a visitor must show; empty: nothing is asked.

    Examples
    --------
    >>> access = Access("correct horse")
    >>> access.allows(authorization="Bearer correct horse"), access.allows(authorization="Bearer wrong"), access.allows()
    (True, False, False)
    >>> access.allows(cookies=f"{COOKIE}={access.cookie}")
    True
    >>> Access("").allows()
    True
    """

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        self.required = bool(token)
        self.cookie = hmac.new(self._token, b"signed in", hashlib.sha256).hexdigest()

    @classmethod
    def from_environment(cls) -> Access:
        """The access that ``SERVE_TOKEN`` asks for."""
        return cls(os.environ.get("SERVE_TOKEN", "").strip())

    def is_token(self, text: str) -> bool:
        """Whether ``text`` is the token; takes as long for every wrong text."""
        return hmac.compare_digest(text.encode(), self._token)

    def allows(self, authorization: str = "", cookies: str = "") -> bool:
        """Whether a request may be answered.

        Parameters
        ----------
        authorization : str
            The request's ``Authorization`` header: ``Bearer TOKEN``.
        cookies : str
            The request's ``Cookie`` header.

        Returns
        -------
        bool
        """
        if not self.required:
            return True
        kind, _, token = authorization.partition(" ")
        # Headers reach Python as Latin-1, whatever their bytes mean.
        sent = token.strip().encode("latin-1", "replace")
        if kind.lower() == "bearer" and hmac.compare_digest(sent, self._token):
            return True
        wanted = f"{COOKIE}={self.cookie}".encode()
        return any(hmac.compare_digest(cookie.strip().encode(), wanted) for cookie in cookies.split(";"))
