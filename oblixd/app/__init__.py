"""The daemon as a process: starting, wiring its parts, serving, ending."""
