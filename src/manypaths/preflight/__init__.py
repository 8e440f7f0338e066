"""`manypaths train --dry-run` and `manypaths doctor`: what a run would take, and what this machine can run."""
