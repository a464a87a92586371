"""`python -m train.render_demo`."""

import sys

from train.render_demo import main

if __name__ == "__main__":
    sys.exit(main())
