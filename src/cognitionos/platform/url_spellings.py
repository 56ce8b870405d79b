"""What a URL amounts to, however it is written: what is sent for it, and what servers may read in that."""

import posixpath
import re
from urllib.parse import unquote

from yarl import URL

from cognitionos.platform.http_address import BadUrl, parse_url

_MEANT_AS_URL = re.compile(r"[\x00-\x20]*(https?\s*:|[\\/]{2})", re.IGNORECASE)
_WITHOUT_SCHEME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*(:[0-9]+)?(?=[/?#]|\Z)", re.IGNORECASE)


def spellings(url: str) -> tuple[str, ...]:
    """The URL as it is sent, then as a lenient server reads it: every escape undone, slashes merged, dots resolved.

    What `parse_url` refuses is never sent and has none. Without the fragment, which is not sent either.
    """
    try:
        parsed = parse_url(url).with_fragment(None)
    except BadUrl:
        return ()
    sent = str(parsed)
    rooted = sent if parsed.raw_path.startswith("/") and not sent.endswith(parsed.authority) else f"{sent}/"
    return tuple(dict.fromkeys((sent, rooted, _as_a_lenient_server_reads(parsed))))


def spellings_elsewhere(text: str) -> tuple[str, ...]:
    """As `spellings`, of what another program may read as a URL: without a scheme it is one of http or https too.

    Raises `ValueError` for what is meant as a URL and is none by any standard: who knows where it leads.
    """
    found = spellings(text)
    if found:
        return found
    if _MEANT_AS_URL.match(text):
        raise ValueError("it cannot be read as a URL")
    host = _WITHOUT_SCHEME.match(text)
    if host is None or ("." not in host[0] and ":" not in host[0] and "/" not in text):
        return ()
    return (text, *spellings(f"https://{text}"), *spellings(f"http://{text}"))


def _as_a_lenient_server_reads(url: URL) -> str:
    plain = unquote(url.raw_path).replace("\\", "/")
    path = "/" + posixpath.normpath(f"/{plain}").lstrip("/")
    if plain.endswith("/") and path != "/":
        path += "/"
    host = (url.raw_host or "").removesuffix(".")
    where = f"[{host}]" if ":" in host else host
    port = "" if url.is_default_port() else f":{url.port}"
    query = f"?{url.raw_query_string}" if url.raw_query_string else ""
    return f"{url.scheme}://{where}{port}{path}{query}"
