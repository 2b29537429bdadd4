"""Backward passes that differ from the gradient: guided, excitation, attention, relevance."""
