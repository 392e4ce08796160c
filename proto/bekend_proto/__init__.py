"""The contract: what both ends of a wire must agree on."""

import os

# gRPC's C library writes notes to stderr past our log; it reads this once, when it is loaded.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
