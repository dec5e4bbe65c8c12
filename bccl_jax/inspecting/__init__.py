"""What a data set is, told without training."""
