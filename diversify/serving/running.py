"""The server at work on a port, until it is told to stop."""

from __future__ import annotations

import ipaddress

import uvicorn
from starlette.applications import Starlette

__all__ = ["serve"]


def serve(app: Starlette, *, host: str = "127.0.0.1", port: int = 8000, grace: int = 30) -> None:
    """Serve an app until SIGINT or SIGTERM.

    Answers that are under way then are finished, for at most `grace` seconds; a second SIGINT ends
    them at once. Messages go through `logging`; requests are not logged.

    Args:
        app: what `build_app` returns.
        host: where it listens. Another than this machine's own wants an app with a token: a
            model, and the key of whatever is behind it, would be free for all who reach the port.
        port: its number; 0 takes a free one.
        grace: seconds.

    Raises:
        ValueError: The host can be reached from elsewhere, and the app asks for no token.

    Example:
        >>> serve(Starlette(), host="0.0.0.0")
        Traceback (most recent call last):
            ...
        ValueError: host '0.0.0.0' can be reached from elsewhere: give the app a token (token_env)
    """
    if not (getattr(app.state, "protected", False) or is_loopback(host)):
        raise ValueError(
            f"host {host!r} can be reached from elsewhere: give the app a token (token_env)"
        )
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=grace,
    )


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a host.

    Example:
        >>> [is_loopback(host) for host in ("localhost", "127.0.0.1", "::1", "0.0.0.0", "", "box")]
        [True, True, True, False, False, False]
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
