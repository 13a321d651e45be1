"""What a device does: the Flower ClientApp, local training, its speech."""
