"""`python -m weft.integrations.cli` is `weft`: launchers such as `accelerate launch -m` need it."""

from .app import app

app(prog_name="weft")
