"""The commands in compose.yaml and the Dockerfile are commands that weft has."""

import json
import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml

from weft.integrations.cli.app import app

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "compose.yaml").read_text(encoding="utf-8")


def commands():
    """Each command of weft that is named there, as a list of words."""
    services = yaml.safe_load(COMPOSE)["services"]
    found = [service["command"] for service in services.values()]
    # Those that its comments tell the reader to run; an ellipsis of theirs is any path.
    found += [shlex.split(text) for text in re.findall(r"# .*?(?:encode|run) (weft .*)", COMPOSE)]
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    found += [
        json.loads(text) for text in re.findall(r"^(?:CMD|ENTRYPOINT) (.*)", dockerfile, re.M)
    ]
    return [words for words in found if words[0] == "weft"]


def test_there_are_some():
    assert {words[1] for words in commands()} >= {"worker", "index", "submit"}


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_each_is_a_command(words):
    group = typer.main.get_command(app)
    if words[1:] == ["--help"]:
        return
    with group.make_context("weft", words[1:2], resilient_parsing=True) as context:
        command = group.get_command(context, words[1])
        assert command is not None
        parser = command.make_parser(context)
        options, rest, _ = parser.parse_args(list(words[2:]))
        takes_paths = any(parameter.param_type_name == "argument" for parameter in command.params)
        assert not rest or takes_paths
        assert options or rest


def test_the_services_fit_together():
    compose = yaml.safe_load(COMPOSE)
    for name, service in compose["services"].items():
        assert set(service.get("depends_on", ())) <= compose["services"].keys()
        for volume in service.get("volumes", ()):
            assert volume.split(":")[0] in compose["volumes"]
        if name != "redis":
            host = re.match(r"redis://([^:/]+)", service["environment"]["WEFT_BROKER"])[1]
            assert host in compose["services"]
