"""Signs requests for an API behind Portcullis. The standard library is enough.

    from portcullis_signing import Key, signed

    key = Key("008j4ct4ank7f24s", open("billing.pch").read())
    headers = signed(key, "POST", "https://api.example.com/v1/transfers", body=b'{"amount":1250}')

Send exactly the URL and the body that were signed. As a program:

    PORTCULLIS_KEY_ID=… PORTCULLIS_SECRET_FILE=… python3 portcullis_signing.py POST URL [BODY]
"""

import base64
import hashlib
import hmac
import os
import secrets
import ssl
import sys
import time
import urllib.error
import urllib.request

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class Key:
    """The public id of a key of kind `hmac`, and its secret `pch_…`."""

    def __init__(self, key_id, secret):
        secret = secret.strip()
        if not secret.startswith("pch_") or len(secret) != 53:
            raise ValueError("not a pch_… secret")
        number = 0
        for digit in secret[4:47]:
            number = number * 62 + DIGITS.index(digit)
        self.id = key_id
        # The 32 bytes are the key, never the text.
        self._bytes = number.to_bytes(32, "big")

    def mac(self, text):
        return hmac.new(self._bytes, text.encode("latin-1"), hashlib.sha256).digest()


def signed(key, method, url, body=None, content_type="application/json", scheme="portcullis-v1", headers=None):
    """The header fields to send, `headers` among them. `scheme` is `portcullis-v1` (RFC 9421) or `pc1`."""
    authority, path, query = _parts(url)
    fields = dict(headers or {})
    if body is not None:
        fields["Content-Type"] = content_type
    now, nonce = int(time.time()), secrets.token_urlsafe(16)
    if scheme == "pc1":
        digest = hashlib.sha256(body or b"").hexdigest()
        told = "" if body is None else f"b={digest};"
        lines = ["PC1-HMAC-SHA256", str(now), nonce, method, authority, path, query]
        lines += ["" if body is None else content_type, digest]
        fields["X-PC-Signature"] = f"v1;k={key.id};t={now};n={nonce};{told}s={key.mac(chr(10).join(lines)).hex()}"
        return fields
    covered = {"@method": method, "@authority": authority, "@path": path, "@query": "?" + query}
    if body is not None:
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        fields["Content-Digest"] = f"sha-256=:{digest}:"
        covered["content-digest"] = fields["Content-Digest"]
        covered["content-type"] = content_type
    # What else is sent and matters: the token beside the signature, and what the API's `cover` names.
    for name, value in (headers or {}).items():
        covered[name.lower()] = value.strip()
    names = " ".join(f'"{name}"' for name in covered)
    parameters = f'({names});created={now};keyid="{key.id}";nonce="{nonce}";alg="hmac-sha256";tag="portcullis-v1"'
    base = "".join(f'"{name}": {value}\n' for name, value in covered.items()) + f'"@signature-params": {parameters}'
    fields["Signature-Input"] = f"sig1={parameters}"
    fields["Signature"] = f"sig1=:{base64.b64encode(key.mac(base)).decode()}:"
    return fields


def _parts(url):
    """Authority (lower case, without the scheme's own port), path and query, as they go over the wire."""
    scheme, _, rest = url.partition("://")
    end = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
    authority, target = rest[:end].lower(), rest[end:]
    default = {"https": ":443", "http": ":80"}[scheme]
    if authority.endswith(default):
        authority = authority[: -len(default)]
    path, _, query = target.partition("?")
    return authority, path or "/", query


def main(method, url, body=None):
    with open(os.environ["PORTCULLIS_SECRET_FILE"], encoding="ascii") as file:
        key = Key(os.environ["PORTCULLIS_KEY_ID"], file.read())
    body = None if body is None else body.encode()
    fields = signed(key, method, url, body, scheme=os.environ.get("PORTCULLIS_SCHEME", "portcullis-v1"))
    context = ssl.create_default_context(cafile=os.environ.get("PORTCULLIS_CA_FILE"))
    request = urllib.request.Request(url, data=body, headers=fields, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request) as answer:
            status, text = answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read().decode()
    print(text)
    print(status)


if __name__ == "__main__":
    main(*sys.argv[1:])
