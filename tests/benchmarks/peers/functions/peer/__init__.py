"""The functions of the peers: one package, for all of their templates."""
