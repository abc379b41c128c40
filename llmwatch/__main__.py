"""`python -m llmwatch`, the same as the command `llmwatch`."""

import sys

from llmwatch.cli import main

if __name__ == "__main__":
    sys.exit(main())
