"""Running the service: one process or several, on one address, until they are told to end."""

from __future__ import annotations

import ipaddress
import logging
import os
from typing import Final

from ...engine.errors import InvalidParameterError, MissingDependencyError
from ...engine.shown import shown
from .settings import LOOPBACK, VARIABLE, ServiceSettings

logger = logging.getLogger("weft.service")

GRACE_SECONDS: Final = 30
"""How long requests under way may go on when the service is told to end."""

LEVELS: Final = ("debug", "info", "warning", "error")

LOGGING: Final = "WEFT_SERVICE_LOG"


def serve(
    settings: ServiceSettings,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    processes: int = 1,
    level: str = "info",
    log_as_json: bool = True,
) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are answered first.

    Args:
        settings: of the service.
        host, port: to listen on; without keys a loopback address, unless `settings.anyone`.
        processes: each opens the collections by itself; all see the same.
        level: of the log, "debug", "info", "warning" or "error".
        log_as_json: one JSON object per line; otherwise text.

    Raises:
        InvalidParameterError: a value out of range, or an address that others reach, without keys.
        MissingDependencyError: the extra `service` is not installed.
    """
    _check(settings, host, port, processes, level)
    try:
        import uvicorn

        from .protocol import BoundedProtocol
    except ImportError as error:
        raise MissingDependencyError(
            f"weft serve needs {error.name}: pip install 'weft[service]'."
        ) from error
    if processes > 1:
        from .metrics import count_across_processes

        count_across_processes()
    os.environ[VARIABLE] = settings.to_json()
    os.environ[LOGGING] = f"{level},{'json' if log_as_json else 'text'}"
    uvicorn.run(
        "weft.integrations.service.running:app_of_process",
        factory=True,
        host=host,
        port=port,
        workers=processes,
        http=BoundedProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


def app_of_process() -> object:
    """The application of one process, by the settings in its environment."""
    import atexit

    from .app import make_app
    from .logs import set_up_logging

    level, _, form = os.environ.get(LOGGING, "info,json").partition(",")
    listener = set_up_logging(level, as_json=form == "json")
    atexit.register(listener.stop)
    return make_app(ServiceSettings.from_json(os.environ[VARIABLE]))


def _check(settings: ServiceSettings, host: str, port: int, processes: int, level: str) -> None:
    if not 0 <= port <= 65535:
        raise InvalidParameterError(f"port is {port}: use 1 to 65535, or 0 for any that is free.")
    if not 1 <= processes <= 256:
        raise InvalidParameterError(f"processes is {processes}: use 1 to 256.")
    if level not in LEVELS:
        raise InvalidParameterError(f"level is {shown(level)}: use one of {', '.join(LEVELS)}.")
    if not is_loopback(host) and not settings.keys and not settings.anyone:
        raise InvalidParameterError(
            f"Others reach {host}, and the service has no API key: pass --key-file, set "
            "WEFT_API_KEY, or say --no-auth if everybody may read and change everything."
        )


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    if host in LOOPBACK:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
