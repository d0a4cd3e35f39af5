"""A running service with keys, one for all of a module's tests."""

import pytest
from running_service import fill, running


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with running(tmp_path_factory.mktemp("service") / "root") as started:
        yield started


@pytest.fixture(scope="module")
def client(service):
    with service.client() as client:
        yield client


@pytest.fixture(scope="module")
def threads(client):
    """A collection of three documents; gives its generation."""
    return fill(client)
