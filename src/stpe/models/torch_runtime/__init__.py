"""What every backend that runs in torch shares: a network on a device, its turns, its memory."""
