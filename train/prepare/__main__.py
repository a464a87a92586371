"""`python -m train.prepare`."""

import sys

from train.prepare import main

if __name__ == "__main__":
    sys.exit(main())
