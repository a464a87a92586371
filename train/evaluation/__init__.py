"""What `python -m train.evaluate` does, a table a function."""
