"""Other programs' protocols over standard input and output: editors (ACP) and agents (MCP)."""
