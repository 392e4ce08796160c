"""bekend_node."""
