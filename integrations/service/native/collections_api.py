"""Collections: make, list, look at, remove."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import Request, Response

from ..context import key_of, service_of
from ..routing import answer, router
from .models import CollectionList, CollectionName, Deleted, NewCollection, Stats

routes = router("collections", prefix="/v1/collections")


@routes.post("", status_code=201, response_model=CollectionName)
async def create_collection(body: NewCollection, request: Request) -> Response:
    """Make an empty collection."""
    service = service_of(request)
    service.require_all(request)
    await service.lanes.help(
        service.collections.create,
        body.name,
        dim=body.dim,
        bits=body.bits,
        flat_below_tokens=body.flat_below_tokens,
    )
    return answer({"name": body.name}, 201)


@routes.get("", response_model=CollectionList)
async def list_collections(request: Request) -> Response:
    """List the collections that the key opens."""
    service, key = service_of(request), key_of(request)
    names = await service.lanes.help(service.collections.names)
    return answer({"collections": [{"name": n} for n in names if key.opens(n, write=False)]})


@routes.get("/{collection}", response_model=Stats)
async def get_collection(collection: str, request: Request) -> Response:
    """Look at a collection: counts, sizes, codec, generation."""
    service = service_of(request)
    async with service.using(request, collection) as found:
        stats = await service.lanes.help(found.index.stats)
    return answer({"name": collection, "stats": asdict(stats)})


@routes.delete("/{collection}", response_model=Deleted)
async def delete_collection(collection: str, request: Request) -> Response:
    """Remove a collection with all its documents."""
    service = service_of(request)
    service.require(request, collection, write=True)
    service.require_all(request)
    await service.lanes.admin(service.collections.delete, collection)
    return answer({"name": collection, "deleted": True})
