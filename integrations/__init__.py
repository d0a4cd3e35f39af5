"""LangChain, LlamaIndex, HTTP and the command line."""
