"""`python -m train.ablate`: the rows of the paper's Table 6. The program is program.py."""

from train.engine.program import program as _program

main = _program("train.ablate.program", "ablate")
