"""What bekend costs, beside the floor that the protocol sets on the same machine in the same run."""
