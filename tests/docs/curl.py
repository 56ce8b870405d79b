"""As much of curl as the documents use, for machines without one: `python curl.py [options] URL`.

Options: -s -S -N (and together), -i, -H, -d, -X, -w, --fail-with-body. Exit status 22 for an HTTP error, as curl's.
"""

import argparse
import http.client
import sys
from urllib.parse import urlsplit


def main(arguments: list[str]) -> int:
    """Send one request, print the answer as it comes; gives the exit status."""
    given = _parser().parse_args(arguments)
    address = urlsplit(given.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)
    target = address.path + (f"?{address.query}" if address.query else "")
    method = given.request or ("GET" if given.data is None else "POST")
    body = None if given.data is None else given.data.encode()
    try:
        connection.request(method, target, body=body, headers=dict(_header(each) for each in given.header))
        answer = connection.getresponse()
    except OSError as error:
        print(f"curl: (7) {error}", file=sys.stderr)
        return 7
    out = sys.stdout.buffer
    if given.include:
        out.write(f"HTTP/1.1 {answer.status} {answer.reason}\r\n".encode())
        out.writelines(f"{name}: {value}\r\n".encode() for name, value in answer.getheaders())
        out.write(b"\r\n")
    while piece := answer.read1():
        out.write(piece)
        out.flush()
    out.write(given.write_out.encode().decode("unicode_escape").encode())
    out.flush()
    return 22 if given.fail_with_body and answer.status >= 400 else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="curl")
    for flag in ("-s", "-S", "-N"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("-i", "--include", action="store_true")
    parser.add_argument("--fail-with-body", action="store_true")
    parser.add_argument("-H", "--header", action="append", default=[])
    parser.add_argument("-d", "--data")
    parser.add_argument("-X", "--request")
    parser.add_argument("-w", "--write-out", default="")
    parser.add_argument("url")
    return parser


def _header(text: str) -> tuple[str, str]:
    name, _, value = text.partition(":")
    return name.strip(), value.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
