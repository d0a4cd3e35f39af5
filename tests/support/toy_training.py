"""A toy collection and examples over it, for the tests of training."""

import json

PASSAGES = {
    "p0": "the wing has lift and drag over the plate",
    "p1": "the weft is woven over the loom, thread by thread",
    "p2": "quick brown fox jumps over the lazy dog",
    "p3": "heat of a boundary layer at high speed",
    "p4": "late interaction scores token by token",
    "p5": "search with a model of shear flow",
}
QUERIES = {
    "q0": "what has lift?",
    "q1": "what is woven over the loom",
    "q2": "who jumps over the dog",
    "q3": "heat at high speed",
    "q4": "how does late interaction score",
}


def write_lines(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def toy_lines(ways=4):
    """Each query with its passage first and others behind it, scores falling."""
    lines = []
    for number, query in enumerate(QUERIES):
        ids = [f"p{(number + step) % len(PASSAGES)}" for step in range(ways)]
        lines.append([query, *[[id, 4.0 - 1.5 * n] for n, id in enumerate(ids)]])
    return lines
