"""The gateware: source, keys, events, array, requantizer, votes, sequencer. Data flows one way."""
