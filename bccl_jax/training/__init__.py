"""The compiled engine, its state, its loop and its checkpoints."""
