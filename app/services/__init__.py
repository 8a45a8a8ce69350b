"""Services: what Holdfast does, over the cache and the ledger that the wiring hands in."""
