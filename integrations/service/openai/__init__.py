"""OpenAI's vector stores, files and embeddings, as its official clients speak to them."""
