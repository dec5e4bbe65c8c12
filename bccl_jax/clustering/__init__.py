"""Class-wise queues and the clustering of what they hold."""
