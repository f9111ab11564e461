"""Whether anything was lost, doubled, altered or moved: the decision, and what it is made of."""
