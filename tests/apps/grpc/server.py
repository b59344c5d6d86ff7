"""A gRPC server with every kind of call, and gRPC's own health service. Its messages are plain bytes, so it needs no compiler.

    server.py NAME [CERTIFICATE KEY]

It says its port, and ends when its input does.
"""

import os
import sys
import threading
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

NAME = sys.argv[1].encode()
cancelled = threading.Event()
health_service = health.HealthServicer()


def unary(request, context):
    metadata = {key: value for key, value in context.invocation_metadata()}
    context.set_trailing_metadata((("x-served-by", NAME.decode()), ("x-authority", metadata.get("x-forwarded-host", ""))))
    if request == b"fail":
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "said no: 100% sure, größer")
    if request == b"unavailable":
        context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
    if request == b"sleep":
        woken = threading.Event()
        context.add_callback(woken.set)
        woken.wait(30)
        cancelled.set()
    if request == b"was cancelled?":
        return b"yes" if cancelled.wait(5) else b"no"
    if request == b"deadline":
        return str(context.time_remaining()).encode()
    if request in (b"up", b"down"):
        serving = health_pb2.HealthCheckResponse
        state = serving.SERVING if request == b"up" else serving.NOT_SERVING
        health_service.set("headgate.test.Echo", state)
        health_service.set("", state)
    return NAME + b": " + request


def server_stream(request, context):
    if request == b"die":
        yield b"first"
        # The first message is on its way by then.
        threading.Timer(0.2, lambda: os._exit(1)).start()
        threading.Event().wait(30)
    for number in range(int(request)):
        yield str(number).encode()


def client_stream(requests, context):
    return b",".join(requests)


def both(requests, context):
    for request in requests:
        yield NAME + b": " + request


service = grpc.method_handlers_generic_handler(
    "headgate.test.Echo",
    {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
        "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
        "Both": grpc.stream_stream_rpc_method_handler(both),
    },
)
server = grpc.server(futures.ThreadPoolExecutor(max_workers=16), options=(("grpc.max_receive_message_length", 32 << 20),))
server.add_generic_rpc_handlers((service,))
health_pb2_grpc.add_HealthServicer_to_server(health_service, server)
health_service.set("headgate.test.Echo", health_pb2.HealthCheckResponse.SERVING)
if len(sys.argv) > 2:
    certificate, key = (open(path, "rb").read() for path in sys.argv[2:4])
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
sys.stdin.read()
server.stop(None)
