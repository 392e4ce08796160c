"""Whether a broker serves, as its health service says."""

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bekend_deploy.pki import TlsPaths


def serves(address: str, tls: TlsPaths, host: str = "localhost") -> bool:
    """Asked over mutual TLS, once. `host`: the name in the certificate of that broker."""
    credentials = grpc.ssl_channel_credentials(
        tls.authorities.read_bytes(), tls.key.read_bytes(), tls.certificate.read_bytes()
    )
    named = [("grpc.ssl_target_name_override", host)]
    with grpc.secure_channel(address, credentials, named) as channel:
        try:
            reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=1)
        except grpc.RpcError:
            return False
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)
