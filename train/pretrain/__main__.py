"""`python -m train.pretrain`."""

import sys

from train.pretrain.program import main

if __name__ == "__main__":
    sys.exit(main())
