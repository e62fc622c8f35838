"""Look into guests through VMware Tools, without changing anything in them."""

from passgate.connect.guest.connector import GuestConnector, Login

__all__ = ["GuestConnector", "Login"]
