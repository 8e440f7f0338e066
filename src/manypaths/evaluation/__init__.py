"""`manypaths evaluate` and `grade`: sampling, grading, and what the completions amount to."""
