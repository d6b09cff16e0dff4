"""Agents: thresholds for routing, and checks of your own before a prompt is sent.

The daemon samples the machine once for everybody; a `ResourceMonitor` or a
`ConnectivityAgent` holds the thresholds that travel with this client's prompts.
"""

from __future__ import annotations

from oblix.agents.base import BaseAgent
from oblix.agents.thresholds import ConnectivityAgent, ResourceMonitor

__all__ = ["BaseAgent", "ConnectivityAgent", "ResourceMonitor"]
