"""`python -m train.pretrain`: pretraining: the paper's full objective. The program is program.py."""

from train.engine.program import program

main = program("train.pretrain.program", "pretrain")
