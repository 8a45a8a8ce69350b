"""Foreign formats of statements: the only room that knows them. Each module reads one into the values of the domain."""
