"""The verbs: what Holdfast does, over the cache and the books that wiring hands in."""
