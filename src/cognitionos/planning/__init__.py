"""What is to be done, in which order, and that it gets done."""
