"""What agents and other programs keep on a machine: logs of lines, folders, databases."""
