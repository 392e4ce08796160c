"""A log from files alone: what an export is, whether it holds, and whether the logs of several parties agree."""
