"""Who may ask, and who may change something."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from grandopt.serving.protocol.errors import Code, ProtocolError

BEARER = "bearer "


@dataclass(frozen=True)
class Access:
    """The server's token, and for what it is needed: all calls (`for_all`), or those that change something.

    Without a token changes are open to programs on the same machine, and to nobody else: not to other
    machines, and not to a web page in a browser here, which tells itself by its Origin.
    """

    token: str | None = None
    for_all: bool = False

    def check(self, authorization: str | None, *, changes: bool, local: bool, browser: bool) -> None:
        """Raise ProtocolError unless a call with this Authorization may be made.

        `local` says that the caller is on this machine, `browser` that a web page made the call.
        """
        if self.token is None:
            if changes and (browser or not local):
                who = "a web page" if browser else "another machine"
                raise ProtocolError(
                    Code.FORBIDDEN,
                    f"{who} may not change the server's state while it has no token; "
                    "start it with --token-file",
                )
            return
        if not (changes or self.for_all):
            return
        if authorization is None:
            raise ProtocolError(
                Code.UNAUTHENTICATED, "this call needs the server's token: Authorization: Bearer TOKEN"
            )
        given = authorization[len(BEARER) :] if authorization[: len(BEARER)].lower() == BEARER else ""
        # Compared as bytes: texts with other characters than ASCII are refused by compare_digest.
        if not hmac.compare_digest(given.strip().encode(), self.token.encode()):
            raise ProtocolError(Code.UNAUTHENTICATED, "the token is not this server's")


OPEN = Access()
"""No token."""
