"""The conformance kit: any resource server, seen from outside, against the RFCs."""
