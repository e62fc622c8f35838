"""How people reach Passgate; these ask the engine and decide nothing."""
