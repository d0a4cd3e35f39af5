"""The HTTP service: collections below one folder, and the APIs that clients already speak.

    weft serve /srv/weft --key-file keys.toml

Needs the extra `weft[service]`. `make_app` gives the application to those who run it themselves.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import make_app as make_app
    from .keys import Key as Key
    from .keys import read_keys as read_keys
    from .running import serve as serve
    from .settings import ServiceLimits as ServiceLimits
    from .settings import ServiceSettings as ServiceSettings

_HOMES = {
    "Key": "keys",
    "ServiceLimits": "settings",
    "ServiceSettings": "settings",
    "make_app": "app",
    "read_keys": "keys",
    "serve": "running",
}

__all__ = ["Key", "ServiceLimits", "ServiceSettings", "make_app", "read_keys", "serve"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'weft.integrations.service' has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
