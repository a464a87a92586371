"""`python -m train.finetune_vsr`: a lip reader on the tokens. It is train/reading/finetune.py."""

import sys

from train.engine.program import program

main = program("train.reading.finetune", "finetune_vsr")

if __name__ == "__main__":
    sys.exit(main())
