"""What Holdfast is compared with: the usual ways to keep balances, each as its own users would write it."""
