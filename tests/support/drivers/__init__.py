"""Short ways to drive the real parts: a daemon, executions, sessions, a terminal."""
