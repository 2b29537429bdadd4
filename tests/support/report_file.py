"""The blocks of a report's file."""

import base64
import json
import zlib


def inflated(text):
    """The value in a deflated block."""
    return json.loads(zlib.decompress(base64.b64decode(text)))


def deflated(value):
    """A value as the text of a deflated block."""
    return base64.b64encode(zlib.compress(json.dumps(value).encode())).decode()
