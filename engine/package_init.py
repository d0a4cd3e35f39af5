"""Weft: late-interaction retrieval that takes new documents while it serves."""
