"""Flower mods of the client app: what happens to an update between the device and the server."""
