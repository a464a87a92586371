"""`python -m train.vsr_tradeoff`: what reading costs in sync. It is train/reading/tradeoff.py."""

import sys

from train.engine.program import program

main = program("train.reading.tradeoff", "vsr_tradeoff")

if __name__ == "__main__":
    sys.exit(main())
