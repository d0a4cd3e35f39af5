"""Weft and other engines, measured in one run over the same vectors.

    python -m benchmarks.peers.run --cache DIR

Each engine runs in a process, and each peer in an environment, of its own.
"""
