"""`python -m diversify`, and `accelerate launch -m diversify`."""

import sys

from diversify.cli import main

if __name__ == "__main__":
    sys.exit(main())
