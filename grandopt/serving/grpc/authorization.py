"""Who may make a call, by its metadata and where it comes from."""

from __future__ import annotations

from grandopt.serving.grpc.status import Context
from grandopt.serving.protocol.access import Access

_LOCAL = ("unix:", "unix-abstract:", "ipv4:127.", "ipv6:[::1]", "ipv6:%5B::1%5D", "ipv6:[::ffff:127.")
"""How gRPC writes peers on this machine; brackets may be percent-encoded."""


def require_allowed(access: Access, context: Context, changes: bool) -> None:
    """Raise ProtocolError for a call without the token that it needs.

    `changes` says whether it changes the server's state.
    """
    metadata = context.invocation_metadata() or ()
    given = next((value for name, value in metadata if name == "authorization"), None)
    authorization = given.decode("latin-1") if isinstance(given, bytes) else given
    # No web page can make such a call: a browser does not speak HTTP/2 without TLS, nor gRPC with it.
    access.check(authorization, changes=changes, local=context.peer().startswith(_LOCAL), browser=False)
