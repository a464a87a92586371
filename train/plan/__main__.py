"""`python -m train.plan`."""

import sys

from train.plan import main

if __name__ == "__main__":
    sys.exit(main())
