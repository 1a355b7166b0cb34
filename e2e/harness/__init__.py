"""What the suite is made of: servers and processes on loopback, a client that sends exact bytes."""
