# SPDX-License-Identifier: Apache-2.0
"""A small S3 client of the tests' own, to look at a bucket with other eyes than the program's: each
request is signed and sent once, and what comes back is given as it is."""

import datetime
import hashlib
import hmac
import http.client
import urllib.parse
import xml.etree.ElementTree

UNRESERVED = "-_.~"


class Refused(Exception):
    """An answer that is no success: .status and .code ("NoSuchBucket")."""

    def __init__(self, status, body):
        self.status = status
        self.code = text_of(body, "Code") or ""
        super().__init__(f"HTTP {status} {self.code} {body[:300]!r}")


def elements(body, name):
    """The elements of this name in an answer, whatever their namespace."""
    try:
        root = xml.etree.ElementTree.fromstring(body)
    except xml.etree.ElementTree.ParseError:
        return []
    return [found for found in root.iter() if found.tag.rsplit("}", 1)[-1] == name]


def text_of(body, name):
    found = elements(body, name)
    return found[0].text if found else None


def child_text(element, name):
    for child in element:
        if child.tag.rsplit("}", 1)[-1] == name:
            return child.text or ""
    return None


def hmac_of(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body


class Client:
    def __init__(self, endpoint, key_id, secret, region="us-east-1", timeout=60, skew=0):
        self.host = endpoint.split("://", 1)[1].rstrip("/")
        self.key_id = key_id
        self.secret = secret
        self.region = region
        self.timeout = timeout
        self.skew = datetime.timedelta(seconds=skew)

    def signed(self, method, path, query, headers, digest):
        """The headers of a request, Authorization among them."""
        now = datetime.datetime.now(datetime.timezone.utc) + self.skew
        now = now.strftime("%Y%m%dT%H%M%SZ")
        headers = dict(headers, host=self.host)
        headers["x-amz-date"] = now
        headers["x-amz-content-sha256"] = digest
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name].strip()}\n" for name in sorted(headers))
        request = "\n".join([method, path, query, lines, names, digest])
        scope = f"{now[:8]}/{self.region}/s3/aws4_request"
        hashed = hashlib.sha256(request.encode()).hexdigest()
        key = ("AWS4" + self.secret).encode()
        for part in scope.split("/"):
            key = hmac_of(key, part)
        signature = hmac_of(key, f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashed}").hex()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.key_id}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}"
        )
        return headers

    def prepare(self, method, bucket, key=None, query=None, headers=None, body=b""):
        """(target, headers) of a request that is signed for this body."""
        path = "/" + urllib.parse.quote(bucket, safe=UNRESERVED)
        if key is not None:
            path += "/" + urllib.parse.quote(key, safe=UNRESERVED + "/")
        pairs = sorted(
            (urllib.parse.quote(name, safe=UNRESERVED), urllib.parse.quote(value, safe=UNRESERVED))
            for name, value in (query or {}).items()
        )
        text = "&".join(f"{name}={value}" for name, value in pairs)
        given = {name.lower(): value for name, value in (headers or {}).items()}
        signed = self.signed(method, path, text, given, hashlib.sha256(body).hexdigest())
        return path + ("?" + text if text else ""), signed

    def request(self, method, bucket, key=None, query=None, headers=None, body=b""):
        """What came back, whatever it is."""
        target, signed = self.prepare(method, bucket, key, query, headers, body)
        connection = http.client.HTTPConnection(self.host, timeout=self.timeout)
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in signed.items():
                connection.putheader(name, value)
            connection.putheader("content-length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def call(self, *arguments, **more):
        """The answer of success; Refused otherwise."""
        answer = self.request(*arguments, **more)
        if answer.status // 100 != 2:
            raise Refused(answer.status, answer.body)
        return answer

    def make_bucket(self, bucket):
        self.call("PUT", bucket)

    def put(self, bucket, key, data):
        self.call("PUT", bucket, key, body=data)

    def get(self, bucket, key):
        return self.call("GET", bucket, key).body

    def remove(self, bucket, key):
        self.call("DELETE", bucket, key)

    def list(self, bucket, prefix=""):
        """key -> (size, ETag, Last-Modified) of everything below a prefix."""
        found = {}
        query = {"list-type": "2", "prefix": prefix, "encoding-type": "url"}
        while True:
            body = self.call("GET", bucket, query=query).body
            for entry in elements(body, "Contents"):
                key = urllib.parse.unquote_plus(child_text(entry, "Key"))
                found[key] = tuple(child_text(entry, n) for n in ("Size", "ETag", "LastModified"))
            if text_of(body, "IsTruncated") != "true":
                return found
            query["continuation-token"] = text_of(body, "NextContinuationToken")

    def uploads(self, bucket):
        """[(key, upload id)] of the multipart uploads that are open."""
        found = []
        query = {"uploads": ""}
        while True:
            body = self.call("GET", bucket, query=query).body
            for entry in elements(body, "Upload"):
                found.append((child_text(entry, "Key"), child_text(entry, "UploadId")))
            if text_of(body, "IsTruncated") != "true":
                return found
            query["key-marker"] = text_of(body, "NextKeyMarker")
            query["upload-id-marker"] = text_of(body, "NextUploadIdMarker")
