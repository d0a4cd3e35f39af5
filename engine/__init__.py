"""The engine: codec, segments, search, encoder, training and evaluation.

It knows nothing of Celery, LangChain, LlamaIndex or HTTP.
"""
