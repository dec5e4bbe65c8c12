"""What a run trained in formats of others: StableHLO, ONNX, and PyTorch's names in safetensors."""
