"""A proxy of a gate that answers every first attempt of a unary call with UNAVAILABLE and a pushback of one second.

Usage: flaky_proxy.py LISTEN GATE. gRPC libraries mark retries with `grpc-previous-rpc-attempts`; those are forwarded.
"""

import sys
from concurrent import futures

import grpc

PUSHBACK_MS = "1000"


class Proxy(grpc.GenericRpcHandler):
    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel

    def service(self, call_details):
        metadata = dict(call_details.invocation_metadata)
        is_retry = "grpc-previous-rpc-attempts" in metadata
        forward = self.channel.unary_unary(call_details.method)

        def handle(request: bytes, context: grpc.ServicerContext) -> bytes:
            if not is_retry:
                context.set_trailing_metadata((("grpc-retry-pushback-ms", PUSHBACK_MS),))
                context.abort(grpc.StatusCode.UNAVAILABLE, "try again")
            return forward(request)

        return grpc.unary_unary_rpc_method_handler(handle)


server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
server.add_generic_rpc_handlers((Proxy(grpc.insecure_channel(sys.argv[2])),))
server.add_insecure_port(sys.argv[1])
server.start()
server.wait_for_termination()
