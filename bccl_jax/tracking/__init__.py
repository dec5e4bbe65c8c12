"""What follows a run while it trains: TensorBoard, Weights & Biases, MLflow, or one's own."""

# What `config.trackers` may name.
TRACKERS = ("tensorboard", "wandb", "mlflow")
