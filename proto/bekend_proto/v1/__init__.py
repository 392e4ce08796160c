"""Messages of protocol version 1: path, proto package and import path are one."""
