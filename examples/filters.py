"""Search among the documents that meet conditions on their metadata."""

import tempfile

import weft

BOOKS = [
    ("A whale hunter chases the animal that took his leg.", {"year": 1851, "tags": ["sea"]}),
    ("A shipwrecked man lives alone on an island for years.", {"year": 1719, "tags": ["sea"]}),
    ("A scientist makes a living being and regrets it.", {"year": 1818, "tags": ["science"]}),
    ("Travellers fly to the moon in a cannon shell.", {"year": 1865, "tags": ["science", "space"]}),
]
FILTERS = [
    {},
    {"year": {"$lt": 1800}},
    {"tags": {"$contains": "science"}, "year": {"$gte": 1850}},
    {"$not": {"tags": {"$contains": "sea"}}},
]

with weft.Index.create(tempfile.mkdtemp() + "/index") as index:
    index.add([text for text, _ in BOOKS], metadata=[metadata for _, metadata in BOOKS])
    for condition in FILTERS:
        hit = index.search("life on a desert island", k=1, filter=condition)[0]
        print(f"{condition}: {hit.text} ({hit.metadata['year']})")
