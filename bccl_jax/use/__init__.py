"""What a run trained, put to use: pictures in, classes out."""
