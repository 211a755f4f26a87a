# SPDX-License-Identifier: Apache-2.0
"""Trouble between a client and an HTTP service, to order: a proxy in the test's own process, where
rules say which requests meet which fault. What no rule names passes through unchanged; signatures
hold, since the Host header passes too. The service behind it is real: where a fault says that the
request took effect, it did.

  with Proxy(server.url) as proxy:
      proxy.on(drop_answer, method="PUT", path=r"/key", times=2)
      ... a client of proxy.url ...
      proxy.count("PUT"), proxy.sent, rule.met

A fault is a function of the exchange, made by one of those at the end or written by the test.
"""

import collections
import re
import select
import socket
import struct
import threading
import time

CHUNK = 1 << 16
HEAD_MAX = 1 << 16


class Gone(Exception):
    """One side closed its connection; the other is closed too."""


def reset(connection):
    """Closes a connection so that the peer sees a reset, not an end."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    except OSError:
        pass


class Reader:
    """Bytes that come in on a socket."""

    def __init__(self, connection):
        self.connection = connection
        self.held = b""

    def more(self):
        data = self.connection.recv(CHUNK)
        if not data:
            raise Gone("the peer has closed")
        self.held += data

    def head(self):
        """Lines up to an empty one; None where the peer closes between two messages."""
        while b"\r\n\r\n" not in self.held:
            if len(self.held) > HEAD_MAX:
                raise Gone("a head without an end")
            try:
                self.more()
            except Gone:
                if self.held:
                    raise
                return None
        head, self.held = self.held.split(b"\r\n\r\n", 1)
        return head.decode("latin-1").split("\r\n")

    def line(self):
        while b"\r\n" not in self.held:
            self.more()
        line, self.held = self.held.split(b"\r\n", 1)
        return line

    def some(self, most):
        if not self.held:
            self.more()
        data, self.held = self.held[:most], self.held[most:]
        return data

    def whole(self, size):
        """Yields so many bytes in pieces."""
        while size:
            data = self.some(min(size, CHUNK))
            size -= len(data)
            yield data

    def chunks(self):
        while True:
            size = int(self.line().split(b";")[0], 16)
            yield from self.whole(size)
            self.line()
            if size == 0:
                return

    def until_closed(self):
        while True:
            try:
                yield self.some(CHUNK)
            except Gone:
                return


class Message:
    """A head, and a body that comes in pieces. `first` is the request or status line."""

    def __init__(self, lines):
        self.first = lines[0]
        self.headers = []
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.headers.append((name, value.strip()))
        self.body = iter(())

    def get(self, name, otherwise=None):
        for each, value in self.headers:
            if each.lower() == name:
                return value
        return otherwise

    def drop(self, name):
        self.headers = [pair for pair in self.headers if pair[0].lower() != name]

    def set(self, name, value):
        self.drop(name.lower())
        self.headers.append((name, value))

    def head(self):
        lines = [self.first] + [f"{name}: {value}" for name, value in self.headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


Seen = collections.namedtuple("Seen", "method target sent status")


class Rule:
    """Which requests a fault meets: after `skip` matching ones the next `times` (None: all), and of
    the same one no more than `each` (None: all)."""

    def __init__(self, fault, method, path, skip, times, share, each):
        self.fault = fault
        self.method = method
        self.path = re.compile(path) if path else None
        self.skip = skip
        self.times = times
        self.share = share  # (random.Random, how probable), or None
        self.each = each
        self.met = 0
        self.targets = collections.Counter()

    def takes(self, method, target):
        if self.method and method not in self.method.split("|"):
            return False
        if self.path and not self.path.search(target):
            return False
        if self.times is not None and self.met >= self.times:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.share and self.share[0].random() >= self.share[1]:
            return False
        if self.each is not None:
            if self.targets[method, target] >= self.each:
                return False
            self.targets[method, target] += 1
        self.met += 1
        return True


class Exchange:
    """One request on its way, with what a fault may do to it."""

    def __init__(self, proxy, link, request):
        self.proxy = proxy
        self.link = link
        self.request = request
        self.method, self.target, _ = (request.first + "  ").split(" ", 2)
        self.sent = 0

    def body(self):
        """The request's body as it comes, counted."""
        for data in self.request.body:
            self.sent += len(data)
            with self.proxy.lock:
                self.proxy.sent += len(data)
            yield data

    def swallow(self):
        for _ in self.body():
            pass

    def forward(self, body=None):
        """Sends the request on, with its own body or another of the same size; the answer."""
        upstream = self.link.upstream()
        try:
            upstream.connection.sendall(self.request.head())
            chunked = self.request.chunked
            for data in self.body() if body is None else body:
                framed = b"%x\r\n%s\r\n" % (len(data), data) if chunked else data
                upstream.connection.sendall(framed)
            if chunked:
                upstream.connection.sendall(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has answered early, or is gone: what there is to read says which
        while True:
            lines = upstream.head()
            if lines is None:
                raise Gone("the service closed without an answer")
            answer = Message(lines)
            status = int(answer.first.split(" ")[1])
            if status >= 200:
                break
        answer.length = None  # known only at its end
        if self.method == "HEAD" or status in (204, 304):
            answer.body = iter(())
            answer.length = 0
        elif answer.get("transfer-encoding", "").lower() == "chunked":
            answer.body = upstream.chunks()
            answer.decoded = True
        elif answer.get("content-length") is not None:
            answer.length = int(answer.get("content-length"))
            answer.body = upstream.whole(answer.length)
        else:
            answer.body = upstream.until_closed()
            answer.decoded = True
        answer.status = status
        return answer

    def tell(self, data):
        self.link.client.sendall(data)

    def reply(self, answer, body=None):
        """Sends an answer back, with its own body or another of the same size. It is noted before
        its last bytes go, so that a client that has all of it is in `seen`."""
        decoded = getattr(answer, "decoded", False)
        if decoded:
            answer.drop("content-length")
            answer.set("Transfer-Encoding", "chunked")
        left = answer.length
        if left == 0:
            self.note(answer.status)
        self.tell(answer.head())
        for data in answer.body if body is None else body:
            with self.proxy.lock:
                self.proxy.received += len(data)
            if not decoded:
                left -= len(data)
                if left == 0:
                    self.note(answer.status)
            self.tell(b"%x\r\n%s\r\n" % (len(data), data) if decoded else data)
        if decoded:
            self.note(answer.status)
            self.tell(b"0\r\n\r\n")

    def say(self, status, words, body=b"", headers=()):
        """An answer of the proxy's own."""
        message = Message([f"HTTP/1.1 {status} {words}"])
        message.headers = list(headers) + [("Content-Length", str(len(body)))]
        self.note(status)
        self.tell(message.head() + (b"" if self.method == "HEAD" else body))

    def note(self, status):
        with self.proxy.lock:
            self.proxy.seen.append(Seen(self.method, self.target, self.sent, status))

    def pause(self, seconds=None):
        """Waits so long, or for ever: till the proxy ends."""
        self.proxy.ended.wait(seconds)
        if self.proxy.ended.is_set():
            raise Gone("the proxy ends")

    def pause_until_left(self):
        """Waits till the client has closed its connection."""
        while select.select([self.link.client], [], [], 0.05)[0] == []:
            if self.proxy.ended.is_set():
                raise Gone("the proxy ends")


class Link(threading.Thread):
    """One client's connection, and the one to the service that belongs to it."""

    def __init__(self, proxy, client):
        super().__init__(daemon=True)
        self.proxy = proxy
        self.client = client
        self.service = None

    def upstream(self):
        if self.service is None:
            connection = socket.create_connection(self.proxy.target)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.service = Reader(connection)
        return self.service

    def run(self):
        reader = Reader(self.client)
        try:
            while self.one(reader):
                pass
        except (Gone, OSError, ValueError):
            reset(self.client)
        finally:
            self.client.close()
            if self.service:
                self.service.connection.close()
            self.proxy.forget(self)

    def one(self, reader):
        """One exchange; False when there will be no more."""
        lines = reader.head()
        if lines is None:
            return False
        request = Message(lines)
        if request.get("expect", "").lower() == "100-continue":
            request.drop("expect")
            self.client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.chunked = request.get("transfer-encoding", "").lower() == "chunked"
        if request.get("transfer-encoding") and not request.chunked:
            raise Gone("a request of unknown length")
        length = int(request.get("content-length", "0"))
        request.body = reader.chunks() if request.chunked else reader.whole(length)
        exchange = Exchange(self.proxy, self, request)
        fault = self.proxy.fault(exchange)
        if fault:
            fault(exchange)
        else:
            exchange.reply(exchange.forward())
        return "close" not in request.get("connection", "").lower()

    def finish(self):
        for connection in (self.client, self.service and self.service.connection):
            if connection:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


class Listener:
    """Accepts connections at an address of its own, for `with`; each has a thread."""

    def __init__(self, host="127.0.0.1", port=0):
        self.listening = socket.create_server((host, port), backlog=256)
        self.host, self.port = self.listening.getsockname()
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.links = set()
        self.accepting = threading.Thread(target=self.accept, daemon=True)
        self.accepting.start()

    def accept(self):
        while not self.ended.is_set():
            try:
                client, _ = self.listening.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = self.link(client)
            with self.lock:
                self.links.add(link)
            link.start()

    def link(self, client):
        raise NotImplementedError

    def forget(self, link):
        with self.lock:
            self.links.discard(link)

    def cut(self):
        """Ends every connection there is."""
        with self.lock:
            links = list(self.links)
        for link in links:
            link.finish()

    def close(self):
        self.ended.set()
        try:
            self.listening.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listening.close()
        self.accepting.join()
        self.cut()
        with self.lock:
            links = list(self.links)
        for link in links:
            link.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Proxy(Listener):
    """sent and received count bytes of bodies; seen lists every exchange that had an answer,
    from just before the answer's last bytes went out."""

    def __init__(self, url, host="127.0.0.1"):
        name, port = url.split("://", 1)[1].rstrip("/").rsplit(":", 1)
        self.target = (name, int(port))
        self.rules = []
        self.seen = []
        self.sent = 0
        self.received = 0
        super().__init__(host)
        self.url = f"http://{self.host}:{self.port}"

    def link(self, client):
        return Link(self, client)

    def on(self, fault, method=None, path=None, skip=0, times=1, share=None, each=None):
        """Adds a rule; the first that takes a request has it. method: "PUT" or "PUT|POST"; path: a
        regular expression to be found in the target, query included."""
        rule = Rule(fault, method, path, skip, times, share, each)
        with self.lock:
            self.rules.append(rule)
        return rule

    def clear(self):
        """No rules, nothing counted."""
        with self.lock:
            self.rules, self.seen, self.sent, self.received = [], [], 0, 0

    def fault(self, exchange):
        with self.lock:
            for rule in self.rules:
                if rule.takes(exchange.method, exchange.target):
                    return rule.fault
        return None

    def count(self, method=None, path=None):
        with self.lock:
            return sum(
                1
                for seen in self.seen
                if (not method or seen.method == method)
                and (not path or re.search(path, seen.target))
            )


# ---- Faults ----


def answer(status, code="", headers=()):
    """The service says so, and did nothing."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>told to</Message></Error>"

    def fault(exchange):
        exchange.swallow()
        exchange.say(status, "Told", body.encode() if code else b"", headers)

    return fault


def answer_early(status, code):
    """The same before the body of the request has come, and the connection ends."""

    def fault(exchange):
        body = f"<Error><Code>{code}</Code></Error>".encode()
        exchange.say(status, "Told", body, [("Connection", "close")])
        raise Gone("told not to wait")

    return fault


def cut_before(exchange):
    """Reset before the service saw anything."""
    raise Gone("told to reset")


def cut_request(after):
    """The connection breaks on both sides after so many bytes of the request's body."""

    def fault(exchange):
        upstream = exchange.link.upstream()
        upstream.connection.sendall(exchange.request.head())
        left = after
        for data in exchange.body():
            part = data[:left]
            framed = b"%x\r\n%s\r\n" % (len(part), part) if exchange.request.chunked else part
            upstream.connection.sendall(framed)
            left -= len(data)
            if left <= 0:
                break
        raise Gone("told to reset")

    return fault


def drop_answer(exchange):
    """The request takes effect; the client sees a reset."""
    for _ in exchange.forward().body:
        pass
    raise Gone("told to reset")


def spoil_answer(status, code):
    """The request takes effect; the client is told of a failure."""

    def fault(exchange):
        for _ in exchange.forward().body:
            pass
        exchange.say(status, "Told", f"<Error><Code>{code}</Code></Error>".encode())

    return fault


def cut_answer(after, orderly=False):
    """The answer's body breaks off after so many bytes, by a reset or by an orderly end; its
    Content-Length is the whole one's."""

    def fault(exchange):
        reply = exchange.forward()
        exchange.tell(reply.head())
        left = after
        for data in reply.body:
            exchange.tell(data[:left])
            left -= len(data)
            if left <= 0:
                break
        if orderly:
            exchange.link.client.shutdown(socket.SHUT_WR)
            exchange.pause_until_left()
        raise Gone("told to break off")

    return fault


def shorten(by, chunked=False):
    """The answer's body lacks its last bytes, and the answer itself does not tell: it has no
    length, and ends with the connection, or is chunked, with the last chunk; or its Content-Length
    itself is too small (chunked=None)."""

    def fault(exchange):
        reply = exchange.forward()
        body = b"".join(reply.body)
        body = body[: max(0, len(body) - by)]
        reply.drop("content-length")
        exchange.note(reply.status)
        if chunked is None:
            reply.set("Content-Length", str(len(body)))
            exchange.tell(reply.head() + body)
        elif chunked:
            reply.set("Transfer-Encoding", "chunked")
            piece = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
            exchange.tell(reply.head() + piece + b"0\r\n\r\n")
        else:
            reply.set("Connection", "close")
            exchange.tell(reply.head() + body)
            exchange.link.client.shutdown(socket.SHUT_WR)
            exchange.pause_until_left()
            raise Gone("told to end")

    return fault


def stall(seconds=None):
    """Takes the request, and answers nothing for so long (None: for ever), then does it."""

    def fault(exchange):
        body = b"".join(exchange.body())
        exchange.pause(seconds)
        exchange.reply(exchange.forward([body]))

    return fault


def stall_answer(after, seconds=None):
    """The answer's body stops after so many bytes."""

    def fault(exchange):
        reply = exchange.forward()

        def body():
            left = after
            for data in reply.body:
                if left is not None and left < len(data):
                    yield data[:left]
                    exchange.pause(seconds)
                    data, left = data[left:], None
                elif left is not None:
                    left -= len(data)
                yield data

        exchange.reply(reply, body())

    return fault


def late(seconds=0, done=None):
    """The request takes effect when the client has given it up, some seconds after that."""

    def fault(exchange):
        body = b"".join(exchange.body())
        exchange.pause_until_left()
        exchange.pause(seconds)
        for _ in exchange.forward([body]).body:
            pass
        if done:
            done.set()
        raise Gone("nobody is there")

    return fault


def flipped(pieces, offset):
    """The same bytes but for one bit."""
    for data in pieces:
        if 0 <= offset < len(data):
            data = bytearray(data)
            data[offset] ^= 0x10
        offset -= len(data)
        yield bytes(data)


def flip_request(offset):
    """A bit of the request's body changes on the way."""
    return lambda exchange: exchange.reply(exchange.forward(flipped(exchange.body(), offset)))


def flip_answer(offset):
    """A bit of the answer's body changes on the way."""

    def fault(exchange):
        reply = exchange.forward()
        exchange.reply(reply, flipped(reply.body, offset))

    return fault


def replace_answer(body, status=None, headers=()):
    """The request takes effect; the answer's body is another, of status 200 unless told."""

    def fault(exchange):
        for _ in exchange.forward().body:
            pass
        exchange.say(status or 200, "Told", body, headers)

    return fault


def slow(seconds):
    """Each request takes longer by that."""

    def fault(exchange):
        time.sleep(seconds)
        exchange.reply(exchange.forward())

    return fault


# ---- Bytes alone ----


class Pipe(threading.Thread):
    """One connection carried both ways without looking."""

    def __init__(self, carrier, client):
        super().__init__(daemon=True)
        self.carrier = carrier
        self.client = client
        self.service = None

    def run(self):
        try:
            self.service = self.carrier.connect()
            sides = {self.client: self.service, self.service: self.client}
            while sides:
                for side in select.select(list(sides), [], [])[0]:
                    data = side.recv(CHUNK)
                    if data:
                        sides[side].sendall(data)
                    else:
                        sides.pop(side).shutdown(socket.SHUT_WR)
        except OSError:
            reset(self.client)
        finally:
            self.client.close()
            if self.service:
                self.service.close()
            self.carrier.forget(self)

    def finish(self):
        for connection in (self.client, self.service):
            if connection:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


class Carrier(Listener):
    """Carries TCP from an address of its own to another: so that a service on loopback is reached
    from where it is not, and so that the way can be cut and closed."""

    def __init__(self, host, port, target):
        self.target = target
        super().__init__(host, port)

    def link(self, client):
        return Pipe(self, client)

    def connect(self):
        return socket.create_connection(self.target)
