"""The hot state: the only code that knows Redis keys and the scripts in `lua/`."""
