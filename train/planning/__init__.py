"""What a pretraining run will cost, from its config alone; `python -m train.plan` prints it."""
