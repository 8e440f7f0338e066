"""`manypaths evaluate` and `grade`: sample completions, grade them, and measure the verdicts."""
