"""Weft's own API: collections, documents, searches."""
