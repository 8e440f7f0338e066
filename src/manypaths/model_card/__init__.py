"""Model cards: what a training did, as the README.md beside the weights, and both of them on the hub.

training.py collects what is known of a training from its run folder; text.py makes Markdown of it; papers.py has what
to cite; publish.py sends a finished run to the hub.
"""
