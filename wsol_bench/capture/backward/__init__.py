"""Backward passes with rules of their own: guided, excitation, attention, relevance."""
