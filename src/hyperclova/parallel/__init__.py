"""One model over many devices: data, tensor, sequence and pipeline parallelism."""
