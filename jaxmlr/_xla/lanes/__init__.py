"""Lanes: `vmap` for Monte Carlo trials, by a batching interpreter of our own."""
