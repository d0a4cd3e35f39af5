"""A running service with keys, one for all of a module's tests."""

import pytest
from running_service import fill, running, tree


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


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A service whose folder lies in another one that is watched as well."""
    outside = tmp_path_factory.mktemp("outside")
    with running(outside / "srv" / "root") as service, service.client() as client:
        fill(client)
        yield outside, service, client


@pytest.fixture
def unchanged(guarded):
    outside, _, client = guarded
    before = tree(outside)
    generation = client.get("/v1/collections/threads").json()["stats"]["generation"]
    yield client
    after = client.get("/v1/collections/threads").json()["stats"]["generation"]
    assert (tree(outside), after) == (before, generation)
