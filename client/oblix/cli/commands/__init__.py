"""One module a command, in folders by kind. `oblix.cli.table` names each; none is imported before it runs."""
