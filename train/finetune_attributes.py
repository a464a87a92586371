"""`python -m train.finetune_attributes`: a head on frozen tokens. It is train/attributes/finetune.py."""

import sys

from train.engine.program import program

main = program("train.attributes.finetune", "finetune_attributes")

if __name__ == "__main__":
    sys.exit(main())
