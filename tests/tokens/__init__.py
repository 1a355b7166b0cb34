"""The tests of tokens: a package, since they share an issuer and fixtures."""
