"""Pictures of embeddings themselves."""
