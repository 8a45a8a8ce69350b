"""Proofs: reconciliation, chain verification, repair, and whether the installation is ready."""
