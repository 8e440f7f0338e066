"""The command explain: what methods would have done to the groups of a log, without training."""
