"""bekend_broker."""
