"""Load: what is sent, how it is sent, and how its latency is counted."""
