"""`python -m manypaths` runs the command line."""

from manypaths.cli import as_process

if __name__ == "__main__":
    as_process()
