"""The entry point: signals first, so that one that comes while everything is loaded gets its exit code too."""

from .signals import leave_at_once


def main() -> None:
    """Run the command line."""
    leave_at_once()
    from .main import main

    main()


if __name__ == "__main__":
    main()
