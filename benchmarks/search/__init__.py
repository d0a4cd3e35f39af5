"""What searching costs on real vectors: callers at once, growing collections, filters."""
