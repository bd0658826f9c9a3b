"""What is learned from, shared by every model: splits, a device-resident store, a resumable sampler, blocks."""
