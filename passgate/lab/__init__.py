"""The simulated datacenter that ships with Passgate, reached only over the wire."""
