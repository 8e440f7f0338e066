"""The methods: rewards of a group in, rewards or advantages out. Pure functions on tensors."""
