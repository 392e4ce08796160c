"""bekend_bench."""
