"""bekend_policy."""
