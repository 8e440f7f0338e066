"""What is wrong with a training? Eight checks of its log, each a pure function with a sentence and its figure.

flat.py has zero-variance groups, cut_off.py completions at the length limit, length.py length that drifts with the
reward, components.py a reward that rises without accuracy, ceiling.py a reward at its highest, copies.py equal
completions in a group, entropy.py entropy beside diversity, by_heart.py training problems that the model has
learnt by heart. docs/check.md justifies the thresholds.
"""
