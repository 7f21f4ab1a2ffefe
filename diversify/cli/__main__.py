"""`python -m diversify.cli`."""

import sys

from diversify.cli import main

if __name__ == "__main__":
    sys.exit(main())
