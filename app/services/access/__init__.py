"""Access: who may call what."""
