"""`python -m train.pretrain`."""

import sys

from train.pretrain import main

if __name__ == "__main__":
    sys.exit(main())
