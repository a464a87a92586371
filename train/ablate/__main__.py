"""`python -m train.ablate`."""

import sys

from train.ablate import main

if __name__ == "__main__":
    sys.exit(main())
