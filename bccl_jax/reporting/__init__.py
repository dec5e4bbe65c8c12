"""What a run tells: console, records, TensorBoard, pictures."""
