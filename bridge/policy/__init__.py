"""What the APIs demand, and which operation a request addresses. Pure, standard library only."""
