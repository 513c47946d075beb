"""The protocol over HTTP/1.1: connections, requests and answers as bytes, and the routes that are no page."""
