"""bekend_proto."""
