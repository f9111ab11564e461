"""Events that were given up: where they are kept, and how they come back."""
