"""`python -m train.evaluate sync`, `thresholds` and `mochabench`."""
