"""Audio: packets put in order with as little delay as the network allows."""
