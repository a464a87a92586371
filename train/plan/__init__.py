"""`python -m train.plan`: what a run costs, told before it starts. The program is program.py."""

from train.engine.program import program as _program

main = _program("train.plan.program", "plan")
