"""The entry point: signals first, so that one that comes while everything is loaded gets its exit code too."""

import os
import sys

from .signals import leave_at_once


def main() -> None:
    """Run the command line."""
    leave_at_once()
    try:
        from .main import main
    except (OSError, MemoryError) as error:  # a system that refuses what every program may ask
        why = "not enough memory" if isinstance(error, MemoryError) else str(error)
        os.write(2, f"mlpbp: error: cannot be loaded: {why}\n".encode())
        sys.exit(1)
    main()


if __name__ == "__main__":
    main()
