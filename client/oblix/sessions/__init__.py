"""The name under which programs of the first Oblix import `SessionManager`."""

from oblix._facade.base import SessionManager

__all__ = ["SessionManager"]
