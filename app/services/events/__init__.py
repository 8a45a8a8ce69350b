"""What tells others of changes: the feed, webhooks and balance monitors."""
