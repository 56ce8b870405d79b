"""`python -m cognitionos`."""

import sys

from cognitionos.cli import main

if __name__ == "__main__":
    sys.exit(main())
