"""A gRPC client: plays one scene against a gateway and fails where it goes otherwise than it should.

    client.py SCENE HOST:PORT [CA]
"""

import sys
import time

import grpc

ECHO = "/headgate.test.Echo/"
LIMITS = (("grpc.max_receive_message_length", 32 << 20), ("grpc.max_send_message_length", 32 << 20))


def channel():
    target = sys.argv[2]
    # Its own tries again would hide what the gateway does.
    options = LIMITS + (("grpc.enable_retries", 0),)
    if len(sys.argv) > 3:
        return grpc.secure_channel(target, grpc.ssl_channel_credentials(open(sys.argv[3], "rb").read()), options)
    return grpc.insecure_channel(target, options)


def fails(call):
    """The code and the words with which a call fails."""
    try:
        answer = call()
    except grpc.RpcError as error:
        return error.code().name, error.details()
    raise AssertionError(f"answered: {answer!r}")


def kinds(channel):
    """Every kind of call, with metadata and trailers, and messages that are larger than any buffer."""
    unary = channel.unary_unary(ECHO + "Unary")
    answer, call = unary.with_call(b"hello", metadata=(("x-mine", "1"),), timeout=20)
    assert answer == b"a: hello", answer
    trailers = dict(call.trailing_metadata())
    assert trailers["x-served-by"] == "a", trailers
    assert trailers["x-authority"] == sys.argv[2], trailers
    large = b"x" * (4 << 20)
    assert unary(large, timeout=20) == b"a: " + large
    assert unary(b"", timeout=20) == b"a: "
    numbers = list(channel.unary_stream(ECHO + "ServerStream")(b"1000", timeout=20))
    assert numbers == [str(number).encode() for number in range(1000)]
    joined = channel.stream_unary(ECHO + "ClientStream")(iter([b"a", b"b", b"c"]), timeout=20)
    assert joined == b"a,b,c", joined
    # Each message goes only when the one before it is back: nothing waits for more.
    answers = []

    def questions():
        for number in range(20):
            until = time.monotonic() + 10
            while len(answers) < number and time.monotonic() < until:
                time.sleep(0.002)
            assert len(answers) == number, "an answer was held back"
            yield str(number).encode()

    for answer in channel.stream_stream(ECHO + "Both")(questions(), timeout=20):
        answers.append(answer)
    assert answers == [b"a: " + str(number).encode() for number in range(20)], answers


def statuses(channel):
    """What the server says passes."""
    unary = channel.unary_unary(ECHO + "Unary")
    assert fails(lambda: unary(b"fail", timeout=20)) == ("FAILED_PRECONDITION", "said no: 100% sure, größer")
    assert fails(lambda: unary(b"unavailable", timeout=20)) == ("UNAVAILABLE", "not now")
    code, _ = fails(lambda: channel.unary_unary(ECHO + "Missing")(b"", timeout=20))
    assert code == "UNIMPLEMENTED", code


def deadline(channel):
    """A client's deadline reaches the server, and so does its end."""
    unary = channel.unary_unary(ECHO + "Unary")
    left = float(unary(b"deadline", timeout=20))
    assert 10 < left <= 20, left
    code, _ = fails(lambda: unary(b"sleep", timeout=0.5))
    assert code == "DEADLINE_EXCEEDED", code
    assert unary(b"was cancelled?", timeout=20) == b"yes"


def too_slow(channel):
    """The gateway's own time limit."""
    code, words = fails(lambda: channel.unary_unary(ECHO + "Unary")(b"sleep", timeout=20))
    assert code == "DEADLINE_EXCEEDED" and words == "the server did not answer in time", (code, words)


def nobody(channel):
    """No endpoint, and no route."""
    code, words = fails(lambda: channel.unary_unary(ECHO + "Unary")(b"hello", timeout=20))
    assert code == "UNAVAILABLE" and "server" in words, (code, words)
    code, words = fails(lambda: channel.unary_unary("/other.Service/Method")(b"hello", timeout=20))
    assert code == "UNIMPLEMENTED" and words == "no such page", (code, words)


def dies(channel):
    """A server that dies in the middle of a stream."""
    messages = channel.unary_stream(ECHO + "ServerStream")(b"die", timeout=20)
    assert next(messages) == b"first"
    code, words = fails(lambda: next(messages))
    assert code in ("UNAVAILABLE", "CANCELLED", "INTERNAL", "UNKNOWN"), (code, words)


def balanced(channel):
    """One connection, several servers."""
    unary = channel.unary_unary(ECHO + "Unary")
    seen = {unary(b"x", timeout=20) for _ in range(10)}
    assert seen == {b"a: x", b"b: x"}, seen


with channel() as opened:
    globals()[sys.argv[1]](opened)
