"""The accelerator's gateware: source, keys, events, lanes, drain, votes, sequencer. Data flows one way."""
