"""`python -m train.pretrain`: pretraining: the paper's full objective. The program is program.py."""

from train.engine.program import program as _program

main = _program("train.pretrain.program", "pretrain")
