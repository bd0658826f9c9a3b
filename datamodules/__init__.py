"""The data that models learn from: splits, a store on the device, a resumable order, blocks of minibatches."""
