"""bekend_deploy."""
