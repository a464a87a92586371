"""`python -m train.ablate`."""

import sys

from train.ablate.program import main

if __name__ == "__main__":
    sys.exit(main())
