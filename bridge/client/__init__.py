"""The client side of step-up: from a challenge to a better token, and the request again."""
