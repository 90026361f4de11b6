"""Networks that torchvision publishes, in torch."""
