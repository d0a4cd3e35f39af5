"""Retrieval quality: collections with judgements, baselines, metrics and the table of a run."""
