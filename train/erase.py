"""`python -m train.erase`: takes out of tokens what they must not tell. It is train/pretrain/erase.py."""

import sys

from train.engine.program import program

main = program("train.pretrain.erase", "erase")

if __name__ == "__main__":
    sys.exit(main())
