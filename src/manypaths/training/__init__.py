"""`manypaths train`, `sweep` and `inspect`: one run from its recipe to its page, in one process or several."""
