"""The side of the stub that users reach: HTTP/1.1 over TLS, with the whole data path in callbacks."""
