"""`python -m train.evaluate`: every table that the project reports. The program is program.py."""

from train.engine.program import program as _program

main = _program("train.evaluate.program", "evaluate")
