"""Celery workers that feed an index; nothing here yet."""
