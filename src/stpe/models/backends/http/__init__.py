"""Models that run elsewhere, behind an address."""
